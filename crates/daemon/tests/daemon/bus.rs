//! The bus.

use std::os::unix::net::UnixStream;

use pm2::axon::Decoder;
use pm2::bus::Message;
use serde_json::{Value, json};

use crate::home::{Home, PATIENCE, next_frame, until};

pub(crate) struct Listener {
    socket: UnixStream,
    decoder: Decoder,
}

impl Listener {
    pub(crate) fn connect(home: &Home) -> Self {
        let socket = UnixStream::connect(home.path().join("pub.sock")).expect("connected");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // The daemon answers a call only after it has taken in everything that came before it.
        let _ = until("the bus", || home.try_call("ping", &json!([{}])));
        Self {
            socket,
            decoder: Decoder::default(),
        }
    }

    pub(crate) fn next(&mut self) -> Message {
        let frame = next_frame(&mut self.socket, &mut self.decoder).expect("a message in time");
        Message::parse(&frame).expect("a message")
    }

    /// The data of the next message of a topic.
    pub(crate) fn wait_for(&mut self, topic: &str) -> Value {
        loop {
            let message = self.next();
            if message.topic == topic {
                return message.data;
            }
        }
    }
}

#[test]
fn a_start_and_a_stop_are_told_as_pm2_tells_them() {
    let home = Home::start();
    let mut bus = Listener::connect(&home);
    let script = home.script("echo.sh", "echo hello\nexec sleep 1000\n");
    let id = home.run("api", "bash", &script, &json!({ "env": { "SECRET": "s3cret" } }));
    let mut events = Vec::new();
    let mut note = |data: &Value| {
        assert!(
            data["process"].get("env").is_none(),
            "the environment is not told"
        );
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        events.push((
            text(&data["event"]),
            text(&data["process"]["status"]),
            data["manually"] == true,
        ));
    };
    note(&bus.wait_for("process:event"));
    note(&bus.wait_for("process:event"));
    let log = bus.wait_for("log:out");
    assert_eq!(log["data"], "hello\n");
    assert_eq!(
        log["process"],
        json!({ "pm_id": id, "name": "api", "rev": null, "namespace": "default" })
    );
    home.call("stopProcessId", &json!([id])).expect("stopped");
    home.call(
        "notifyByProcessId",
        &json!([{ "id": id, "action_name": "stop", "manually": true }]),
    )
    .expect("told");
    for _ in 0..3 {
        note(&bus.wait_for("process:event"));
    }
    let expected = [
        ("online", "launching", false),
        ("start", "online", true),
        ("exit", "stopping", false),
        ("exit", "stopped", false),
        ("stop", "stopped", true),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(e, s, m)| ((*e).to_owned(), (*s).to_owned(), *m))
        .collect();
    assert_eq!(events, expected);
}

#[test]
fn a_listener_that_does_not_read_holds_up_nobody() {
    let home = Home::start();
    let _deaf = Listener::connect(&home);
    let script = home.script(
        "loud.py",
        "for n in range(400000): print('x' * 60)\nprint('end', flush=True)\nimport time; time.sleep(1000)\n",
    );
    let id = home.run("loud", "python3", &script, &json!({}));
    until("all of it is in the file", || {
        home.log("logs/loud-out.log").ends_with("end\n").then_some(())
    });
    assert_eq!(home.status(id), "online");
    until("the loss is told", || {
        home.log("pm2.log").contains("reads too slowly").then_some(())
    });
}
