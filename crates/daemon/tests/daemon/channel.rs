//! What children say on their IPC channels, in any language.

use serde_json::json;

use crate::bus::Listener;
use crate::home::{Home, until_true};

#[test]
fn a_node_app_is_ready_when_it_says_so_and_offers_actions() {
    let home = Home::start();
    let script = home.script(
        "app.js",
        "process.send({ node_version: process.versions.node });
         process.send({ type: 'axm:action', data: { action_name: 'greet', arity: 2 } });
         process.send({ type: 'axm:monitor', data: { 'Heap': { value: 12, unit: 'MiB' } } });
         process.send({ type: 'axm:option:configuration', data: { module_name: 'm' } });
         process.on('message', m => {
           if (m.msg === 'greet') process.send({ type: 'axm:reply', data: { action_name: 'greet', return: 'hi ' + m.opts } });
         });
         process.stdin.on('data', line => console.log('line ' + line));
         setTimeout(() => process.send('ready'), 50);",
    );
    let mut bus = Listener::connect(&home);
    let id = home.run(
        "app",
        "node",
        &script,
        &json!({ "wait_ready": true, "listen_timeout": 20000, "pmx": false }),
    );
    let shown = home.show(id);
    let env = &shown["pm2_env"];
    assert_eq!(env["status"], "online");
    assert_eq!(
        env["axm_actions"],
        json!([{ "action_name": "greet", "arity": 2 }])
    );
    assert_eq!(
        env["axm_monitor"],
        json!({ "Heap": { "value": 12, "unit": "MiB" } })
    );
    assert_eq!(env["axm_options"], json!({ "module_name": "m" }));
    assert!(env["node_version"].is_string());

    let asked = home
        .call(
            "msgProcess",
            &json!([{ "id": id, "msg": "greet", "opts": "you" }]),
        )
        .expect("asked");
    assert_eq!(asked, json!({ "process_count": 1, "success": true }));
    let reply = bus.wait_for("axm:reply");
    assert_eq!(
        reply["data"],
        json!({ "action_name": "greet", "return": "hi you" })
    );
    assert_eq!(reply["process"]["name"], "app");
    let unknown = home.call("msgProcess", &json!([{ "id": id, "msg": "dance" }]));
    assert_eq!(unknown, Err("Action doesn't exist dance for app".into()));
    home.call("sendLineToStdin", &json!([{ "pm_id": id, "line": "typed" }]))
        .expect("sent");
    until_true("the line arrives", || {
        home.log("logs/app-out.log").contains("line typed")
    });
}

#[test]
fn any_program_may_speak_and_garbage_harms_nobody() {
    let home = Home::start();
    let script = home.script(
        "chan.py",
        r#"
import os, time, json
fd = int(os.environ["NODE_CHANNEL_FD"])
os.write(fd, b"this is not json\n\n\xff\xfe\n{\n")
os.write(fd, b"[" * 100000 + b"\n")
os.write(fd, json.dumps({"cmd": "NODE_CLUSTER", "act": "online"}).encode() + b"\n")
os.write(fd, json.dumps({"type": "custom:thing", "data": {"n": 1}}).encode() + b"\n")
print("said", flush=True)
time.sleep(1000)
"#,
    );
    let mut bus = Listener::connect(&home);
    let id = home.run("chan", "python3", &script, &json!({}));
    assert_eq!(bus.wait_for("custom:thing")["data"], json!({ "n": 1 }));
    assert_eq!(home.status(id), "online");
    until_true("told once", || {
        home.log("pm2.log").matches("not JSON").count() == 1
    });
}

#[test]
fn shutdown_comes_as_a_message_where_that_is_asked_for() {
    let home = Home::start();
    let script = home.script(
        "polite.js",
        "process.on('message', m => { if (m === 'shutdown') { console.log('bye'); process.exit(0); } });
         process.on('SIGINT', () => console.log('signal'));
         process.send('ready');",
    );
    let id = home.run(
        "polite",
        "node",
        &script,
        &json!({ "shutdown_with_message": true, "wait_ready": true, "listen_timeout": 20000, "kill_timeout": 20000 }),
    );
    home.call("stopProcessId", &json!([id])).expect("stopped");
    until_true("it said good-bye", || home.log("logs/polite-out.log") == "bye\n");
}
