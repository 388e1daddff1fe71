//! A shell that binds and accepts in memory, and workers that say what they are told to.

use serde_json::{Value, json};

use super::*;
use crate::internal::{self, Internal};
use crate::message::{ChildMessage, classify};

const EADDRINUSE: i32 = 98;

/// A primary and what it asked for since the last look.
struct World {
    primary: Primary,
    now: Millis,
    refuse_binds: bool,
    next_conn: u64,
    /// What each worker was sent, parsed; `fd` names the descriptor.
    sent: Vec<(u64, Value)>,
    bound: Vec<ListenerId>,
    closed: Vec<ListenerId>,
    dropped: Vec<u64>,
    returned: Vec<u64>,
    listening: Vec<u64>,
    booted: Vec<u64>,
    kept: usize,
}

impl World {
    fn new() -> Self {
        Self::with(Primary::new(100))
    }

    fn with(primary: Primary) -> Self {
        Self {
            primary,
            now: 1000,
            refuse_binds: false,
            next_conn: 0,
            sent: Vec::new(),
            bound: Vec::new(),
            closed: Vec::new(),
            dropped: Vec::new(),
            returned: Vec::new(),
            listening: Vec::new(),
            booted: Vec::new(),
            kept: 0,
        }
    }

    fn worker(&mut self, id: u64, group: &str) {
        self.worker_with(id, group, Policy::RoundRobin);
    }

    fn worker_with(&mut self, id: u64, group: &str, policy: Policy) {
        let spec = WorkerSpec {
            group: group.into(),
            policy,
        };
        self.primary.add(WorkerId(id), spec);
    }

    fn says(&mut self, id: u64, message: &Value) {
        let internal = match classify(message.to_string().as_bytes()).unwrap() {
            ChildMessage::Internal(internal) => internal,
            other => panic!("{other:?}"),
        };
        self.primary.on_message(self.now, WorkerId(id), internal);
        self.settle();
    }

    fn acts(&mut self, id: u64, act: &str, seq: u64, fields: Value) {
        let mut message = json!({ "cmd": "NODE_CLUSTER", "act": act, "seq": seq });
        for (key, value) in fields.as_object().unwrap() {
            message[key] = value.clone();
        }
        self.says(id, &message);
    }

    fn asks(&mut self, id: u64, seq: u64, port: u16, index: u64) {
        let fields = json!({ "index": index, "data": null, "address": null, "port": port, "addressType": 4, "backlog": 0 });
        self.acts(id, "queryServer", seq, fields);
    }

    fn listens(&mut self, id: u64, seq: u64, port: u16) {
        let fields = json!({ "index": 0, "data": null, "address": null, "port": port, "addressType": 4 });
        self.acts(id, "listening", seq, fields);
    }

    /// Ask and listen, as an app does.
    fn opens(&mut self, id: u64, port: u16) -> ListenerId {
        self.asks(id, 1, port, 0);
        self.listens(id, 2, port);
        *self.bound.last().unwrap()
    }

    fn settle(&mut self) {
        while let Some(effect) = self.primary.poll_effect() {
            match effect {
                Effect::Bind { listener, bind } => {
                    let result = if self.refuse_binds {
                        Err(EADDRINUSE)
                    } else {
                        self.bound.push(listener);
                        Ok(match bind.address {
                            internal::Address::Unix { .. } => None,
                            _ => Some(SockName {
                                address: "::".into(),
                                family: "IPv6".into(),
                                port: 8000,
                            }),
                        })
                    };
                    self.primary.bound(listener, result);
                }
                Effect::Keep => self.kept += 1,
                Effect::Send { worker, line } => self.sent.push((worker.0, parse(&line))),
                Effect::SendHandle {
                    worker, line, handle, ..
                } => {
                    let mut message = parse(&line);
                    message["fd"] = match handle {
                        Handle::Listener(listener) => json!(format!("listener {}", listener.0)),
                        Handle::Connection(conn) => json!(conn.0),
                    };
                    self.sent.push((worker.0, message));
                }
                Effect::Drop(conn) => self.dropped.push(conn.0),
                Effect::Returned(conn) => self.returned.push(conn.0),
                Effect::Close(listener) => self.closed.push(listener),
                Effect::Listening(worker) => self.listening.push(worker.0),
                Effect::Booted(worker) => self.booted.push(worker.0),
            }
        }
    }

    fn client(&mut self, listener: ListenerId) -> u64 {
        self.next_conn += 1;
        self.primary
            .connection(self.now, listener, ConnId(self.next_conn));
        self.settle();
        self.next_conn
    }

    fn wants(&self, listener: ListenerId) -> bool {
        self.primary.wants_connection(self.now, listener)
    }

    fn take_sent(&mut self) -> Vec<(u64, Value)> {
        std::mem::take(&mut self.sent)
    }

    /// The one connection that was offered since the last look: to whom, which, and its number.
    fn offered(&mut self) -> (u64, u64, u64) {
        let sent = self.take_sent();
        let offers: Vec<_> = sent
            .iter()
            .filter(|(_, message)| message["msg"]["act"] == "newconn")
            .collect();
        let [(worker, message)] = offers[..] else {
            panic!("not one offer: {sent:?}")
        };
        (
            *worker,
            message["fd"].as_u64().unwrap(),
            message["msg"]["seq"].as_u64().unwrap(),
        )
    }

    fn acks(&mut self, id: u64) {
        self.says(id, &json!({ "cmd": "NODE_HANDLE_ACK" }));
    }

    fn replies(&mut self, id: u64, ack: u64, accepted: bool) {
        self.says(
            id,
            &json!({ "cmd": "NODE_CLUSTER", "ack": ack, "accepted": accepted, "seq": 50 }),
        );
    }

    fn takes(&mut self, id: u64, ack: u64) {
        self.acks(id);
        self.replies(id, ack, true);
    }

    fn later(&mut self, ms: Millis) {
        self.now += ms;
        self.primary.handle_timeout(self.now);
        self.settle();
    }

    fn sweep(&mut self, expected: usize) {
        self.primary.sweep(self.now, |_| expected);
        self.settle();
    }

    fn gone(&mut self, id: u64) {
        self.primary.gone(self.now, WorkerId(id));
        self.settle();
    }

    fn reads_everything(&mut self, id: u64) {
        self.primary.read_everything(self.now, WorkerId(id));
        self.settle();
    }

    /// Another shell carries on from what was kept.
    fn reborn(&mut self) -> World {
        let bytes = self.primary.snapshot().write();
        let mut world = World::with(Primary::restore(1_000_000, Snapshot::read(&bytes).unwrap()));
        world.next_conn = self.next_conn;
        world.bound.clone_from(&self.bound);
        world
    }
}

fn parse(line: &[u8]) -> Value {
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    serde_json::from_slice(line.strip_prefix(&[internal::BUN_MARK]).unwrap_or(line)).unwrap()
}

/// The answer to query 1 of a worker, round robin.
fn answer(errno: Value, key: &str, seq: u64) -> Value {
    let mut reply =
        json!({ "cmd": "NODE_CLUSTER", "errno": errno, "key": key, "ack": 1, "data": null, "seq": seq });
    if reply["errno"].is_null() {
        reply["sockname"] = json!({ "address": "::", "family": "IPv6", "port": 8000 });
    }
    reply
}

#[test]
fn a_worker_listens_and_gets_connections_one_at_a_time() {
    let mut world = World::new();
    world.worker(1, "api");
    world.acts(1, "online", 0, json!({}));
    assert_eq!(world.booted, [1]);
    world.asks(1, 1, 8000, 0);
    assert_eq!(world.take_sent(), [(1, answer(Value::Null, "null:8000:4:", 101))]);
    let listener = world.bound[0];
    assert!(
        !world.wants(listener),
        "no connection before it said that it listens: Deno would lose it"
    );
    world.listens(1, 2, 8000);
    assert_eq!(world.listening, [1]);
    assert!(world.wants(listener));

    world.client(listener);
    let (worker, conn, seq) = world.offered();
    assert_eq!((worker, conn), (1, 1));
    world.client(listener);
    assert!(
        !world.wants(listener) && world.take_sent().is_empty(),
        "one unacknowledged descriptor at most"
    );
    world.acks(1);
    assert!(
        world.take_sent().is_empty(),
        "and not before it took the one before"
    );
    world.replies(1, seq, true);
    assert_eq!(world.dropped, [1]);
    assert_eq!(world.offered().1, 2);
}

#[test]
fn connections_go_around() {
    let mut world = World::new();
    for id in 1..=3 {
        world.worker(id, "api");
    }
    let listener = world.opens(1, 80);
    world.opens(2, 80);
    world.opens(3, 80);
    world.take_sent();
    assert_eq!(world.bound.len(), 1, "one socket for all");
    let mut order = Vec::new();
    for _ in 0..6 {
        world.client(listener);
        let (worker, _, seq) = world.offered();
        order.push(worker);
        world.takes(worker, seq);
    }
    assert_eq!(order[..3], order[3..]);
    assert_eq!(std::collections::BTreeSet::from_iter(order).len(), 3);
}

#[test]
fn what_a_dying_worker_did_not_take_goes_to_another() {
    let mut world = World::new();
    world.worker(1, "api");
    world.worker(2, "api");
    let listener = world.opens(1, 80);
    world.client(listener);
    let (first, conn, _) = world.offered();
    assert_eq!(first, 1);
    world.gone(1);
    assert!(
        world.take_sent().is_empty() && world.dropped.is_empty(),
        "it waits for somebody"
    );
    world.opens(2, 80);
    assert_eq!(world.offered().0, 2);
    assert_eq!(conn, 1);
    assert!(world.closed.is_empty());
}

#[test]
fn a_refused_connection_goes_to_another_and_the_refuser_rests() {
    let mut world = World::new();
    world.worker(1, "api");
    let listener = world.opens(1, 80);
    world.client(listener);
    let mut rests = Vec::new();
    for _ in 0..4 {
        let (_, conn, seq) = world.offered();
        assert_eq!(conn, 1);
        world.acks(1);
        world.replies(1, seq, false);
        assert!(world.take_sent().is_empty(), "no ping-pong");
        let wait = world.primary.next_deadline().unwrap() - world.now;
        rests.push(wait);
        world.later(wait);
    }
    assert_eq!(rests, [20, 40, 80, 160]);
    let (_, _, seq) = world.offered();
    world.takes(1, seq);
    assert_eq!(world.dropped, [1]);
    assert_eq!(world.primary.next_deadline(), None);
}

#[test]
fn a_descriptor_that_did_not_arrive_is_sent_again() {
    let mut world = World::new();
    world.worker(1, "api");
    let listener = world.opens(1, 80);
    world.client(listener);
    world.offered();
    world.says(1, &json!({ "cmd": "NODE_HANDLE_NACK" }));
    world.later(20);
    assert_eq!(world.offered().1, 1);

    // A socket, too; and in the end the app is told.
    world.worker_with(2, "shared", Policy::Shared);
    world.asks(2, 1, 90, 0);
    let mut tries = 0;
    let told = loop {
        let (_, message) = world.take_sent().pop().unwrap();
        if message["cmd"] != "NODE_HANDLE" {
            break message;
        }
        tries += 1;
        world.says(2, &json!({ "cmd": "NODE_HANDLE_NACK" }));
        world.later(5000);
    };
    assert_eq!((tries, &told["errno"], &told["ack"]), (8, &json!(-24), &json!(1)));
}

#[test]
fn a_shared_socket_travels_itself_and_udp_always_does() {
    let mut world = World::new();
    world.worker_with(1, "api", Policy::Shared);
    world.asks(1, 1, 80, 0);
    let (_, message) = world.take_sent().pop().unwrap();
    assert_eq!(
        message,
        json!({ "cmd": "NODE_HANDLE", "type": "net.Native", "fd": "listener 1",
                "msg": { "cmd": "NODE_CLUSTER", "errno": 0, "key": "null:80:4:", "ack": 1, "data": null, "seq": 101 } })
    );
    world.acks(1);
    world.listens(1, 2, 80);
    assert!(!world.primary.accepts(ListenerId(1)));

    world.worker(2, "dns");
    let udp = json!({ "index": 0, "data": null, "address": null, "port": 53, "addressType": "udp4", "fd": -1, "flags": 0 });
    world.acts(2, "queryServer", 1, udp);
    let (_, message) = world.take_sent().pop().unwrap();
    assert_eq!(message["type"], "dgram.Native");
    assert!(!world.primary.accepts(ListenerId(2)));
}

#[test]
fn two_descriptors_are_never_under_way_at_once() {
    let mut world = World::new();
    world.worker_with(1, "api", Policy::Shared);
    world.asks(1, 1, 80, 0);
    world.asks(1, 2, 81, 0);
    assert_eq!(world.take_sent().len(), 1);
    world.acks(1);
    assert_eq!(world.take_sent().len(), 1);
}

#[test]
fn a_port_of_the_kernels_choice_is_shared_within_an_app() {
    let mut world = World::new();
    for (id, group) in [(1, "api"), (2, "api"), (3, "other")] {
        world.worker(id, group);
        world.asks(id, 1, 0, 0);
    }
    assert_eq!(world.bound.len(), 2, "one for each app");
    world.asks(1, 2, 0, 1);
    assert_eq!(world.bound.len(), 3, "the second one of a worker is another");
    // With a number, apps share it as the workers of one primary do.
    world.asks(1, 3, 80, 0);
    world.asks(3, 2, 80, 0);
    assert_eq!(world.bound.len(), 4);
}

#[test]
fn the_same_address_twice_in_one_worker_is_for_the_kernel_to_decide() {
    let mut world = World::new();
    world.worker(1, "api");
    world.opens(1, 80);
    world.take_sent();
    world.refuse_binds = true;
    world.asks(1, 3, 80, 0);
    let (_, message) = world.take_sent().pop().unwrap();
    assert_eq!(
        (&message["errno"], &message["ack"]),
        (&json!(-EADDRINUSE), &json!(3))
    );
    assert_ne!(message["key"], "null:80:4:");
}

#[test]
fn a_bind_that_fails_or_makes_no_sense_is_an_error_for_the_app() {
    let mut world = World::new();
    world.worker(1, "api");
    world.refuse_binds = true;
    world.asks(1, 1, 80, 0);
    assert_eq!(
        world.take_sent(),
        [(1, answer(json!(-EADDRINUSE), "null:80:4:", 101))]
    );
    world.refuse_binds = false;
    world.acts(
        1,
        "queryServer",
        2,
        json!({ "address": "x", "port": 99999, "addressType": 4 }),
    );
    assert_eq!(world.take_sent()[0].1["errno"], json!(-22));
    world.asks(1, 3, 80, 0);
    assert!(world.take_sent()[0].1["errno"].is_null(), "and it may try again");
}

#[test]
fn a_worker_can_not_take_all_sockets() {
    let mut world = World::new();
    world.worker(1, "greedy");
    for port in 1..=300_u16 {
        world.asks(1, u64::from(port), port, 0);
    }
    assert_eq!(world.bound.len(), 256);
    assert_eq!(world.take_sent().last().unwrap().1["errno"], json!(-24));
}

#[test]
fn what_the_first_worker_says_is_told_to_all() {
    let mut world = World::new();
    for id in 1..=2 {
        world.worker(id, "tls");
        let fields = json!({ "data": { "ticketKeys": id.to_string() }, "address": null, "port": 443, "addressType": 4 });
        world.acts(id, "queryServer", 1, fields);
        assert_eq!(world.take_sent()[0].1["data"], json!({ "ticketKeys": "1" }));
    }
}

#[test]
fn a_server_that_all_workers_close_is_closed() {
    let mut world = World::new();
    world.worker(1, "api");
    world.worker(2, "api");
    let listener = world.opens(1, 80);
    world.opens(2, 80);
    world.acts(1, "close", 3, json!({ "key": "null:80:4:" }));
    assert!(world.closed.is_empty());
    world.acts(2, "close", 3, json!({ "key": "null:80:4:" }));
    assert_eq!(world.closed, [listener]);
    world.asks(2, 4, 80, 0);
    assert_eq!(world.bound.len(), 2, "and may be opened again");
}

#[test]
fn sockets_stay_while_the_app_is_meant_to_be_up() {
    let mut world = World::new();
    world.worker(1, "api");
    let listener = world.opens(1, 80);
    world.gone(1);
    world.sweep(1);
    world.client(listener);
    assert!(
        world.closed.is_empty() && world.dropped.is_empty(),
        "a client that waits"
    );
    world.sweep(0);
    assert_eq!(
        (world.closed.clone(), world.dropped.clone()),
        (vec![listener], vec![1])
    );
}

#[test]
fn an_address_that_nobody_wants_any_more_is_given_up_in_the_end() {
    let mut world = World::new();
    world.worker(1, "api");
    let old = world.opens(1, 80);
    world.gone(1);
    world.worker(2, "api");
    world.sweep(1);
    assert_eq!(
        world.primary.next_deadline(),
        None,
        "it has not listened yet, who knows where it will"
    );
    world.opens(2, 81);
    world.sweep(1);
    let wait = world.primary.next_deadline().unwrap() - world.now;
    world.later(wait - 1);
    world.sweep(1);
    assert!(world.closed.is_empty());
    world.later(1);
    world.sweep(1);
    assert_eq!(world.closed, [old]);
}

#[test]
fn a_retired_worker_gets_no_more_and_its_replacement_all() {
    let mut world = World::new();
    world.worker(1, "api");
    let listener = world.opens(1, 80);
    world.worker(2, "api");
    world.asks(2, 1, 80, 0);
    assert!(!world.primary.covers(WorkerId(2), WorkerId(1)));
    world.listens(2, 2, 80);
    assert!(world.primary.covers(WorkerId(2), WorkerId(1)));
    world.take_sent();
    world.primary.disconnect(WorkerId(1), 500);
    world.settle();
    let sent = world.take_sent();
    assert_eq!(sent[0], (1, json!({ "cmd": "NODE_PM_DRAIN", "ms": 500 })));
    assert_eq!((&sent[1].1["act"], sent[1].0), (&json!("disconnect"), 1));
    for _ in 0..3 {
        world.client(listener);
        let (worker, _, seq) = world.offered();
        assert_eq!(worker, 2);
        world.takes(2, seq);
    }
    world.acts(1, "close", 3, json!({ "key": "null:80:4:" }));
    world.gone(1);
    assert!(world.closed.is_empty());
}

#[test]
fn a_worker_that_retires_while_a_connection_is_under_way_may_give_it_back() {
    let mut world = World::new();
    world.worker(1, "api");
    world.worker(2, "api");
    let listener = world.opens(1, 80);
    world.client(listener);
    let (_, _, seq) = world.offered();
    world.opens(2, 80);
    world.primary.disconnect(WorkerId(1), 0);
    world.settle();
    world.take_sent();
    world.acks(1);
    world.replies(1, seq, false);
    assert_eq!(world.offered().0, 2);
}

#[test]
fn disconnecting_by_its_own_wish_is_answered() {
    let mut world = World::new();
    world.worker(1, "api");
    let listener = world.opens(1, 80);
    world.take_sent();
    world.acts(1, "close", 3, json!({ "key": "other" }));
    world.acts(1, "exitedAfterDisconnect", 4, json!({}));
    assert_eq!(
        world.take_sent(),
        [(1, json!({ "cmd": "NODE_CLUSTER", "ack": 4, "seq": 102 }))]
    );
    world.acts(1, "close", 5, json!({ "key": "null:80:4:" }));
    assert!(
        world.closed.is_empty() && !world.wants(listener),
        "the next life of the app will want it"
    );
}

#[test]
fn bun_is_spoken_to_in_its_own_way() {
    let mut world = World::new();
    world.worker(1, "bun");
    let bun = |text: &str| match classify(&[b"\x02", text.as_bytes()].concat()).unwrap() {
        ChildMessage::Internal(internal) => internal,
        other => panic!("{other:?}"),
    };
    let listen = r#""address":null,"port":80,"addressType":4,"seq":1}"#;
    for act in ["queryServer", "listening"] {
        let text = format!(r#"{{"cmd":"NODE_CLUSTER","act":"{act}","index":0,{listen}"#);
        world.primary.on_message(world.now, WorkerId(1), bun(&text));
        world.settle();
    }
    // Its acknowledgements are not marked.
    world.primary.on_message(
        world.now,
        WorkerId(1),
        Internal {
            dialect: internal::Dialect::Node,
            kind: internal::Kind::HandleAck,
        },
    );
    world.settle();
    world.primary.connection(world.now, ListenerId(1), ConnId(9));
    let mut lines = Vec::new();
    while let Some(effect) = world.primary.poll_effect() {
        if let Effect::SendHandle { line, .. } = effect {
            lines.push(String::from_utf8(line).unwrap());
        }
    }
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(
        line.starts_with("\x02{\"cmd\":\"NODE_CLUSTER\",\"act\":\"newconn\""),
        "{line}"
    );
    assert!(line.contains("\"$hasHandle\":true"), "{line}");
}

#[test]
fn another_shell_carries_on() {
    let mut before = World::new();
    before.worker(1, "api");
    before.worker(2, "api");
    let listener = before.opens(1, 80);
    before.asks(2, 1, 80, 0);
    assert_eq!(before.primary.take_number(), 1);

    let mut world = before.reborn();
    assert_eq!(world.primary.take_number(), 2, "numbers are not used twice");
    assert!(!world.wants(listener), "what the former one sent may be unread");
    assert_eq!(world.primary.fenced().count(), 2);
    world.primary.read_everything(world.now, WorkerId(1));
    assert!(world.wants(listener));
    world.client(listener);
    let (worker, _, seq) = world.offered();
    assert_eq!(worker, 1);
    // Replies to the former one mean nothing.
    world.replies(1, 105, false);
    assert!(world.take_sent().is_empty());
    world.takes(1, seq);
    assert_eq!(world.dropped, [1]);
    // The second one listens now.
    world.listens(2, 2, 80);
    world.primary.read_everything(world.now, WorkerId(2));
    world.client(listener);
    assert_eq!(world.offered().0, 2);
}

#[test]
fn what_is_read_twice_has_one_effect() {
    let mut before = World::new();
    before.worker(1, "api");
    before.opens(1, 80);
    before.acts(1, "close", 3, json!({ "key": "null:80:4:" }));
    before.asks(1, 4, 80, 0);
    let listener = *before.bound.last().unwrap();

    // The former shell acted on both, but did not live to take them out of the channel.
    let mut world = before.reborn();
    world.acts(1, "close", 3, json!({ "key": "null:80:4:" }));
    world.asks(1, 4, 80, 0);
    assert!(world.closed.is_empty(), "the new socket stays");
    assert_eq!(world.bound, before.bound, "and no other is made");
    let (_, message) = world.take_sent().pop().unwrap();
    assert_eq!(
        (&message["key"], &message["ack"]),
        (&json!("null:80:4:"), &json!(4))
    );
    world.listens(1, 5, 80);
    world.primary.read_everything(world.now, WorkerId(1));
    assert!(world.wants(listener));
}

#[test]
fn a_socket_that_was_lost_is_forgotten() {
    let mut before = World::new();
    before.worker(1, "api");
    let listener = before.opens(1, 80);
    let mut world = before.reborn();
    world.primary.lost(listener);
    world.settle();
    assert_eq!(world.closed, [listener]);
    assert_eq!(world.primary.listeners().count(), 0);
    assert!(matches!(
        Snapshot::read(br#"{"v":2}"#),
        Err(SnapshotError::Version(2))
    ));
    assert!(Snapshot::read(b"{").is_err());
}

#[test]
fn a_stranger_is_not_listened_to() {
    let mut world = World::new();
    world.asks(9, 1, 80, 0);
    world.gone(9);
    assert!(world.sent.is_empty() && world.bound.is_empty());
}

mod random;

/// A shell that died with a connection in hand, and its successor, which knows what was noted of it.
fn successor(state: Inherited) -> (World, ListenerId) {
    let mut world = World::new();
    world.worker(1, "api");
    world.worker(2, "api");
    let listener = world.opens(1, 80);
    world.opens(2, 80);
    let mut world = world.reborn();
    world.primary.inherit(listener, ConnId(7), state);
    world.next_conn = 7;
    (world, listener)
}

#[test]
fn what_a_former_shell_had_not_offered_is_offered() {
    let (mut world, _) = successor(Inherited::Waiting);
    world.reads_everything(1);
    let (worker, conn, seq) = world.offered();
    assert_eq!((worker, conn), (1, 7));
    world.takes(1, seq);
    assert_eq!(world.dropped, [7]);
}

#[test]
fn what_a_former_shell_offered_is_the_workers_if_it_says_so_and_anothers_if_not() {
    let offered = Inherited::Offered {
        worker: WorkerId(1),
        seq: 50,
    };
    let (mut world, listener) = successor(offered);
    world.replies(1, 50, true);
    world.reads_everything(1);
    assert_eq!(
        (world.dropped.as_slice(), world.wants(listener)),
        (&[7][..], true)
    );

    for refused in [true, false] {
        let (mut world, _) = successor(offered);
        world.reads_everything(1);
        world.reads_everything(2);
        assert!(world.take_sent().is_empty(), "its answer comes first");
        if refused {
            world.replies(1, 50, false);
        } else {
            world.gone(1);
        }
        assert_eq!(world.returned, [7]);
        let (worker, conn, _) = world.offered();
        assert_eq!((worker, conn), (2, 7));
    }
}

#[test]
fn a_doubtful_offer_is_cleared_up_by_the_answer_to_a_later_one() {
    let doubtful = Inherited::Doubtful {
        worker: WorkerId(1),
        seq: 50,
    };
    for arrived in [true, false] {
        let (mut world, _) = successor(doubtful);
        world.reads_everything(1);
        let (worker, conn, seq) = world.offered();
        assert_eq!((worker, conn), (1, 7), "asked about");
        world.acks(1);
        if arrived {
            world.replies(1, 50, true);
            assert_eq!(world.dropped, [7]);
        }
        world.replies(1, seq, false);
        if arrived {
            assert!(world.returned.is_empty() && world.take_sent().is_empty());
        } else {
            assert_eq!((world.returned.as_slice(), world.dropped.len()), (&[7][..], 0));
            let (worker, conn, again) = world.offered();
            assert_eq!((worker, conn), (1, 7), "offered anew");
            world.takes(1, again);
            assert_eq!(world.dropped, [7]);
        }
    }
    let (mut world, _) = successor(doubtful);
    world.reads_everything(2);
    world.gone(1);
    assert_eq!(world.offered().0, 2, "a worker that is gone has nothing");
}
