//! Start, stop, restart, crash.

use serde_json::{Value, json};

use crate::home::{Home, alive, until, until_true};

fn sleeper(home: &Home) -> std::path::PathBuf {
    home.script("sleep.sh", "echo started\nexec sleep 1000\n")
}

#[test]
fn an_app_is_started_listed_stopped_and_deleted() {
    let home = Home::start();
    let script = sleeper(&home);
    let id = home.run("api", "bash", &script, &json!({}));
    let shown = home.show(id);
    let pid = home.pid(id);
    assert_eq!(
        (shown["pm2_env"]["status"].as_str(), shown["name"].as_str()),
        (Some("online"), Some("api"))
    );
    assert!(alive(pid));
    assert_eq!(shown["pm2_env"]["exec_mode"], "fork_mode");
    let pid_file = home.path().join("pids/api-0.pid");
    until_true("the pid file", || {
        std::fs::read_to_string(&pid_file).is_ok_and(|text| text == pid.to_string())
    });
    until_true("the log", || home.log("logs/api-out.log") == "started\n");

    assert_eq!(
        home.call("startProcessId", &json!([id])),
        Err("process already online".into())
    );
    let stopped = home
        .call("stopProcessId", &json!([id.to_string()]))
        .expect("stopped");
    assert_eq!(
        (stopped["pid"].as_u64(), stopped["pm2_env"]["status"].as_str()),
        (Some(0), Some("stopped"))
    );
    assert!(!alive(pid));
    until_true("no pid file", || !pid_file.exists());

    let started = home.call("startProcessId", &json!([id])).expect("started");
    assert!(alive(
        u32::try_from(started["process"]["pid"].as_u64().unwrap_or(0)).unwrap_or(0)
    ));
    let restarted = home
        .call("restartProcessId", &json!([{ "id": id, "env": {} }]))
        .expect("restarted");
    assert_eq!(restarted["pm2_env"]["restart_time"], 1);
    home.call("deleteProcessId", &json!([id])).expect("deleted");
    assert_eq!(home.list(), Vec::<Value>::new());
    assert_eq!(
        home.call("stopProcessId", &json!([7])),
        Err("7 : id unknown".into())
    );
}

#[test]
fn a_crash_is_followed_by_a_new_life() {
    let home = Home::start();
    let script = sleeper(&home);
    let id = home.run("api", "bash", &script, &json!({ "min_uptime": 100 }));
    let first = home.pid(id);
    until_true("it runs", || home.log("logs/api-out.log") == "started\n");
    os::process::kill(first, 9).expect("killed");
    let second = until("a new life", || {
        Some(home.pid(id)).filter(|pid| *pid != first && alive(*pid))
    });
    assert_ne!(first, second);
    let env = &home.show(id)["pm2_env"];
    assert_eq!(
        (env["restart_time"].as_u64(), env["exit_code"].as_u64()),
        (Some(1), Some(0))
    );
    until_true("both lives wrote", || {
        home.log("logs/api-out.log") == "started\nstarted\n"
    });
}

#[test]
fn always_failing_ends_errored() {
    let home = Home::start();
    let script = home.script("fail.sh", "echo life\nexit 3\n");
    let id = home.run("bad", "bash", &script, &json!({ "max_restarts": 3 }));
    until_true("errored", || home.status(id) == "errored");
    let shown = home.show(id);
    let env = &shown["pm2_env"];
    assert_eq!(
        (env["restart_time"].as_u64(), env["unstable_restarts"].as_u64()),
        (Some(2), Some(0))
    );
    assert_eq!(
        (
            env["exit_code"].as_u64(),
            &env["created_at"],
            shown["pid"].as_u64()
        ),
        (Some(3), &Value::Null, Some(0))
    );
    until_true("three lives wrote", || {
        home.log("logs/bad-out.log") == "life\nlife\nlife\n"
    });
}

#[test]
fn what_does_not_listen_is_killed_with_its_whole_tree() {
    let home = Home::start();
    let script = home.script(
        "deaf.sh",
        "trap '' INT\nbash -c \"trap '' INT; echo \\$\\$ > child.pid; while :; do sleep 1; done\" &\nwhile :; do sleep 1; done\n",
    );
    let id = home.run("deaf", "bash", &script, &json!({ "kill_timeout": 200 }));
    let child = until("the child", || home.log("child.pid").trim().parse::<u32>().ok());
    let pid = home.pid(id);
    let stopped = home.call("stopProcessId", &json!([id])).expect("stopped");
    assert_eq!(stopped["pm2_env"]["status"], "stopped");
    assert!(
        !alive(pid) && !alive(child),
        "the answer comes when all of the tree is gone"
    );
}

#[test]
fn waits_delays_and_stop_codes_are_kept() {
    let home = Home::start();
    let done = home.script("done.sh", "exit 7\n");
    let id = home.run("done", "bash", &done, &json!({ "stop_exit_codes": [7] }));
    until_true("stopped by its code", || home.status(id) == "stopped");
    let failing = home.script("failing.sh", "exit 1\n");
    let id = home.run("later", "bash", &failing, &json!({ "restart_delay": 60000 }));
    until_true("it waits", || home.status(id) == "waiting restart");
    let off = home.run("off", "bash", &failing, &json!({ "autostart": false }));
    assert_eq!((home.status(off).as_str(), home.pid(off)), ("stopped", 0));
}

#[test]
fn a_program_that_does_not_exist_is_an_error_and_harms_nobody() {
    let home = Home::start();
    let answer = home.call(
        "prepare",
        &json!([home.app("none", "none", "/no/such/program".as_ref(), &json!({}))]),
    );
    let told = answer.unwrap_err().to_string();
    assert!(
        told.contains("could not be started: running the program (/no/such/program): No such file"),
        "{told}"
    );
    assert_eq!(home.status(0), "errored");
    until_true("the log names it", || {
        home.log("pm2.log").contains("/no/such/program")
    });
}

#[test]
fn instances_are_numbered() {
    let home = Home::start();
    let script = sleeper(&home);
    let app = home.app(
        "many",
        "bash",
        &script,
        &json!({ "instances": 3, "exec_mode": "cluster_mode", "merge_logs": false }),
    );
    let started = home.call("prepare", &json!([app])).expect("started");
    assert_eq!(started.as_array().map(Vec::len), Some(3));
    let numbers: Vec<_> = home
        .list()
        .iter()
        .map(|p| p["pm2_env"]["NODE_APP_INSTANCE"].as_u64())
        .collect();
    assert_eq!(numbers, [Some(0), Some(1), Some(2)]);
    assert!(
        home.list()
            .iter()
            .all(|p| p["pm2_env"]["exec_mode"] == "cluster_mode")
    );
    until_true("its own log", || home.log("logs/many-out-2.log") == "started\n");
    let copy = home.call("duplicateProcessId", &json!([0])).expect("one more");
    assert_eq!(copy["pm2_env"]["NODE_APP_INSTANCE"], 3);
}

#[test]
fn a_cron_pattern_that_cannot_be_read_is_told_and_the_app_runs() {
    let home = Home::start();
    let script = sleeper(&home);
    let app = home.app("odd", "bash", &script, &json!({ "cron_restart": "* * *" }));
    home.call("prepare", &json!([app])).expect("started");
    until_true("the log says so", || {
        home.log("pm2.log").contains("cron_restart \"* * *\": 3 fields")
    });
}

#[test]
fn too_much_memory_leads_to_a_restart() {
    let home = Home::start_with(&[("PM2_WORKER_INTERVAL", "100")]);
    let script = home.script(
        "fat.py",
        "import time\nx = bytearray(60_000_000)\ntime.sleep(1000)\n",
    );
    let id = home.run(
        "fat",
        "python3",
        &script,
        &json!({ "max_memory_restart": 40_000_000 }),
    );
    until_true("restarted", || {
        home.show(id)["pm2_env"]["restart_time"].as_u64() >= Some(1)
    });
    until_true("told", || home.log("pm2.log").contains("takes"));
}

#[test]
fn a_termination_signal_dumps_stops_and_tidies_up() {
    let mut home = Home::start();
    let script = sleeper(&home);
    let id = home.run("api", "bash", &script, &json!({}));
    let (pid, daemon) = (home.pid(id), home.daemon_pid().expect("a daemon"));
    os::process::kill(daemon, 15).expect("asked");
    home.wait_for_end();
    assert!(!alive(pid) && !alive(daemon));
    let dump: Value = serde_json::from_str(&home.log("dump.pm2")).expect("a dump");
    assert_eq!(
        (dump[0]["name"].as_str(), dump[0]["status"].as_str()),
        (Some("api"), Some("online"))
    );
    for file in ["pm2.pid", "rpc.sock", "pub.sock"] {
        assert!(!home.path().join(file).exists(), "{file} is left");
    }
}

#[test]
fn nothing_that_a_client_sends_harms_the_daemon() {
    use std::io::Write;
    let home = Home::start();
    let daemon = home.daemon_pid();
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0x1f; 64],
        &[0x12, 0xff, 0xff, 0xff, 0xff],
        b"\x12\0\0\0\x04j:{}\0\0\0\x03s:x",
        b"\x11\0\0\0\x02j:",
    ] {
        let mut socket =
            std::os::unix::net::UnixStream::connect(home.path().join("rpc.sock")).expect("connected");
        let _ = socket.write_all(bytes);
    }
    for (method, args) in [
        ("prepare", json!([])),
        ("prepare", json!([{ "pm_exec_path": 5, "env": [] }])),
        (
            "prepare",
            json!([{ "pm_exec_path": "/x", "env": {}, "instances": 1e18 }]),
        ),
        ("restartProcessId", json!([[1, 2]])),
        ("msgProcess", json!([null])),
        ("sendLineToStdin", json!([{ "pm_id": {}, "line": 5 }])),
        (
            "sendSignalToProcessId",
            json!([{ "process_id": -1, "signal": "SIGKILL" }]),
        ),
        ("stopWatch", json!([])),
        ("noSuchMethod", json!([])),
    ] {
        let answer = home.call(method, &args);
        assert!(
            answer.is_err() || method == "stopWatch",
            "{method} {args}: {answer:?}"
        );
    }
    assert_eq!(home.daemon_pid(), daemon);
    assert_eq!(home.call("ping", &json!([{}])), Ok(json!({ "msg": "pong" })));
}

#[test]
fn once_the_end_has_begun_nothing_is_started_any_more() {
    let home = Home::start();
    let stubborn = home.script(
        "stubborn.sh",
        "trap '' INT TERM\necho up\nwhile :; do sleep 0.1; done\n",
    );
    let sleeper = sleeper(&home);
    // It holds the end up.
    home.run("stubborn", "bash", &stubborn, &json!({ "kill_timeout": 3000 }));
    let quick = home.run("quick", "bash", &sleeper, &json!({}));
    until_true("it can't be interrupted", || {
        home.log("logs/stubborn-out.log") == "up\n"
    });
    let daemon = home.daemon_pid().expect("a daemon");
    os::process::kill(daemon, 15).expect("asked");
    until_true("the other one is down", || home.status(quick) == "stopped");
    let calls = [
        ("startProcessId", json!([quick])),
        ("restartProcessId", json!([{ "id": quick }])),
        ("reloadProcessId", json!([{ "id": quick }])),
        ("softReloadProcessId", json!([{ "id": quick }])),
        ("duplicateProcessId", json!([quick])),
        ("prepare", json!([home.app("new", "bash", &sleeper, &json!({}))])),
    ];
    for (method, args) in calls {
        assert_eq!(
            home.call(method, &args),
            Err("the daemon is ending".into()),
            "{method}"
        );
    }
    until_true("the end", || !alive(daemon));
    assert_eq!(home.log("logs/quick-out.log"), "started\n");
}

#[test]
fn a_command_that_was_to_end_the_daemon_and_was_ended_itself_leaves_one_that_restarts() {
    let home = Home::start();
    let id = home.run("api", "bash", &sleeper(&home), &json!({}));
    let frame = pm2::rpc::encode_request("1:0", "notifyKillPM2", &json!([{}])).expect("a frame");
    std::fs::write(home.path().join("frame"), frame).expect("written");
    let announce = "import socket, time\ns = socket.socket(socket.AF_UNIX)\ns.connect('rpc.sock')\n\
                    s.sendall(open('frame', 'rb').read())\nprint('said', flush=True)\ntime.sleep(1000)\n";
    let mut client = std::process::Command::new("python3")
        .args(["-c", announce])
        .current_dir(home.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("a client");
    let mut said = [0; 4];
    std::io::Read::read_exact(client.stdout.as_mut().expect("its output"), &mut said).expect("said");
    // While it may still end the daemon, nothing comes back.
    let other = home.run("other", "bash", &sleeper(&home), &json!({}));
    os::process::kill(home.pid(other), 9).expect("killed");
    until_true("it stays down", || home.status(other) == "stopped");
    client.kill().expect("killed");
    client.wait().expect("collected");
    until_true("told", || home.log("pm2.log").contains("is restarted again"));
    let pid = home.pid(id);
    os::process::kill(pid, 9).expect("killed");
    until_true("it is restarted", || home.pid(id) != pid && alive(home.pid(id)));
}
