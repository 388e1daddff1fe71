//! Anything in any order.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Add(u64),
    Ask(u64, u16),
    Listen(u64),
    Close(u64),
    Client,
    Ack(u64),
    Nack(u64),
    Take(u64, bool),
    Retire(u64),
    Gone(u64),
    Wait(u64),
    Reborn,
}

fn step() -> impl Strategy<Value = Step> {
    let id = 1..4_u64;
    prop_oneof![
        1 => id.clone().prop_map(Step::Add),
        1 => (id.clone(), 80..82_u16).prop_map(|(id, port)| Step::Ask(id, port)),
        1 => id.clone().prop_map(Step::Listen),
        1 => id.clone().prop_map(Step::Close),
        3 => Just(Step::Client),
        3 => id.clone().prop_map(Step::Ack),
        1 => id.clone().prop_map(Step::Nack),
        3 => (id.clone(), any::<bool>()).prop_map(|(id, taken)| Step::Take(id, taken)),
        1 => id.clone().prop_map(Step::Retire),
        1 => id.clone().prop_map(Step::Gone),
        1 => (1..3000_u64).prop_map(Step::Wait),
        1 => Just(Step::Reborn),
    ]
}

proptest! {
    /// Whatever happens: at most one unacknowledged descriptor for a worker, and no connection is in two hands or in none.
    #[test]
    fn no_connection_is_lost(steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        let mut seq = 0;
        let mut under_way: std::collections::BTreeMap<u64, u64> = Default::default();
        let mut open: std::collections::BTreeSet<u64> = Default::default();
        for step in steps {
            seq += 1;
            match step {
                Step::Add(id) => world.worker(id, "api"),
                Step::Ask(id, port) => world.asks(id, seq, port, 0),
                Step::Listen(id) => world.listens(id, seq, 80),
                Step::Close(id) => world.acts(id, "close", seq, json!({ "key": "null:80:4:" })),
                Step::Client => {
                    let first = world.primary.listeners().next();
                    if let Some(listener) = first {
                        open.insert(world.client(listener));
                    }
                }
                Step::Ack(id) => {
                    under_way.remove(&id);
                    world.acks(id);
                }
                Step::Nack(id) => {
                    under_way.remove(&id);
                    world.says(id, &json!({ "cmd": "NODE_HANDLE_NACK" }));
                }
                Step::Take(id, taken) => {
                    let offer = world.primary.offer_of(WorkerId(id));
                    if let Some(ack) = offer.filter(|_| !under_way.contains_key(&id)) {
                        world.replies(id, ack, taken);
                    }
                }
                Step::Retire(id) => {
                    world.primary.disconnect(WorkerId(id), 0);
                    world.settle();
                }
                Step::Gone(id) => {
                    under_way.remove(&id);
                    world.gone(id);
                }
                Step::Wait(ms) => world.later(ms),
                Step::Reborn => {
                    // Connections are the former shell's: the kernel closed them.
                    open.clear();
                    under_way.clear();
                    world = world.reborn();
                    for id in world.primary.workers().collect::<Vec<_>>() {
                        world.primary.read_everything(world.now, id);
                    }
                    world.settle();
                }
            }
            for (worker, message) in world.take_sent() {
                if message["cmd"] == "NODE_HANDLE" {
                    let before = under_way.insert(worker, message["fd"].as_u64().unwrap_or(0));
                    prop_assert_eq!(before, None, "two descriptors under way to {}", worker);
                }
            }
            for conn in std::mem::take(&mut world.dropped) {
                prop_assert!(open.remove(&conn), "{} was dropped twice", conn);
            }
            let mut held = world.primary.connections();
            held.sort_unstable();
            prop_assert_eq!(held, open.iter().copied().collect::<Vec<_>>());
        }
    }
}
