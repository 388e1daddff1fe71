//! The daemon dies, the keeper dies: no app notices.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::home::{Home, PATIENCE, alive, name_of, until, until_true};

/// Serves HTTP, writes numbered lines, and uses its channel all the while.
const BUSY: &str = r"
let n = 0;
const server = require('http').createServer((q, s) => s.end('pong ' + process.pid + '\n'));
server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', () => require('fs').writeFileSync('port', String(server.address().port)));
process.on('disconnect', () => console.log('DISCONNECTED'));
process.on('message', m => { if (m.msg === 'echo') process.send({ type: 'axm:reply', data: { action_name: 'echo', return: m.opts } }); });
process.send({ type: 'axm:action', data: { action_name: 'echo', arity: 2 } });
setInterval(() => {
  for (let i = 0; i < 50; i++) console.log('line ' + n++);
  process.send({ type: 'axm:monitor', data: { n: { value: n } } });
  process.send({ type: 'tick', data: { n, padding: 'x'.repeat(n % 5000) } });
}, 5);
";

struct Keepalive(BufReader<TcpStream>);

impl Keepalive {
    fn connect(home: &Home) -> Self {
        let port: u16 = until("the port", || home.log("port").parse().ok());
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self(BufReader::new(stream))
    }

    fn get(&mut self) -> String {
        self.0
            .get_mut()
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .expect("sent");
        let mut line = String::new();
        while !line.starts_with("pong") {
            line.clear();
            assert_ne!(
                self.0.read_line(&mut line).expect("an answer"),
                0,
                "the connection was closed"
            );
        }
        line.trim().to_owned()
    }
}

/// The lines are numbered without a gap, a repetition or a torn one.
fn count_whole_lines(text: &str) -> u64 {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut count = 0;
    for line in whole.lines() {
        assert_eq!(line, format!("line {count}"), "after line {count}");
        count += 1;
    }
    count
}

fn daemon_is_another(home: &Home, former: u32) -> u32 {
    until("another daemon", || {
        home.daemon_pid()
            .filter(|pid| *pid != former && home.try_call("ping", &json!([{}])).is_some())
    })
}

#[test]
fn a_daemon_that_is_killed_again_and_again_costs_the_app_nothing() {
    let home = Home::start();
    let script = home.script("busy.js", BUSY);
    let id = home.run("busy", "node", &script, &json!({}));
    let pid = home.pid(id);
    let mut connection = Keepalive::connect(&home);
    let answer = connection.get();
    assert_eq!(answer, format!("pong {pid}"));
    for round in 0..5 {
        let lines = count_whole_lines(&home.log("logs/busy-out.log"));
        let daemon = home.daemon_pid().expect("a daemon");
        os::process::kill(daemon, 9).expect("killed");
        // While nobody is there, and after: the same connection, the same process.
        assert_eq!(connection.get(), answer, "round {round}");
        daemon_is_another(&home, daemon);
        assert_eq!(home.pid(id), pid, "round {round}");
        let env = &home.show(id)["pm2_env"];
        assert_eq!(
            (env["status"].as_str(), env["restart_time"].as_u64()),
            (Some("online"), Some(0))
        );
        assert_eq!(connection.get(), answer, "round {round}");
        until_true("the log goes on", || {
            count_whole_lines(&home.log("logs/busy-out.log")) > lines + 100
        });
        // The channel works in both directions.
        let asked = home
            .call("msgProcess", &json!([{ "id": id, "msg": "echo", "opts": round }]))
            .expect("asked");
        assert_eq!(asked["process_count"], 1);
    }
    home.call("stopProcessId", &json!([id])).expect("stopped");
    let text = home.log("logs/busy-out.log");
    assert!(!text.contains("DISCONNECTED") && !home.log("pm2.log").contains("not JSON"));
    assert!(
        home.log("pm2.log")
            .contains("without being asked to, by SIGKILL:")
    );
    assert!(count_whole_lines(&text) > 500);
}

#[test]
fn what_happens_while_no_daemon_is_there_is_made_up_for() {
    let home = Home::start();
    let sleeper = home.script("sleep.sh", "exec sleep 1000\n");
    let crashed = home.run("crashed", "bash", &sleeper, &json!({}));
    let stopped = home.run("stopped", "bash", &sleeper, &json!({}));
    let untouched = home.run("untouched", "bash", &sleeper, &json!({ "_km_monitored": true }));
    home.call("unmonitor", &json!([untouched])).expect("unmonitored");
    home.call("stopProcessId", &json!([stopped])).expect("stopped");
    let (pid, kept) = (home.pid(crashed), home.pid(untouched));
    let daemon = home.daemon_pid().expect("a daemon");
    os::process::kill(daemon, 19).expect("frozen");
    os::process::kill(pid, 9).expect("killed");
    os::process::kill(daemon, 9).expect("killed");
    daemon_is_another(&home, daemon);
    until_true("it is restarted", || {
        home.pid(crashed) != pid && alive(home.pid(crashed))
    });
    assert_eq!(home.show(crashed)["pm2_env"]["restart_time"], 1);
    assert_eq!(
        (home.status(stopped).as_str(), home.pid(untouched)),
        ("stopped", kept)
    );
    assert_eq!(home.show(untouched)["pm2_env"]["_km_monitored"], false);
    assert_eq!(home.run("next", "bash", &sleeper, &json!({})), 3, "numbers go on");
}

#[test]
fn clients_are_not_refused_while_the_daemon_is_away() {
    let home = Home::start();
    let daemon = home.daemon_pid().expect("a daemon");
    os::process::kill(daemon, 9).expect("killed");
    // The socket listens all the while: the call waits, and is answered by the next daemon.
    assert_eq!(home.call("ping", &json!([{}])), Ok(json!({ "msg": "pong" })));
}

#[test]
fn a_keeper_that_is_killed_is_replaced_and_everything_handed_over() {
    let mut home = Home::start();
    let script = home.script("busy.js", BUSY);
    let id = home.run("busy", "node", &script, &json!({}));
    let pid = home.pid(id);
    let mut connection = Keepalive::connect(&home);
    let answer = connection.get();
    os::process::kill(home.keeper_pid(), 9).expect("killed");
    home.wait_for_end();
    until_true("another keeper", || {
        home.log("pm2.log").contains("starting another keeper")
    });
    assert_eq!((home.pid(id), connection.get()), (pid, answer.clone()));
    // Now the daemon may die too.
    let daemon = home.daemon_pid().expect("a daemon");
    os::process::kill(daemon, 9).expect("killed");
    daemon_is_another(&home, daemon);
    assert_eq!((home.pid(id), connection.get()), (pid, answer));
    let stopped = home.call("stopProcessId", &json!([id])).expect("stopped");
    assert_eq!(stopped["pm2_env"]["status"], "stopped");
    let daemon = home.daemon_pid().expect("a daemon");
    os::process::kill(daemon, 15).expect("asked");
    until_true("the end", || !alive(daemon));
    count_whole_lines(&home.log("logs/busy-out.log"));
}

fn children_of(pid: u32) -> Vec<os::proc::Sample> {
    let mut all = Vec::new();
    let mut sampler = os::proc::Sampler::new().expect("/proc");
    sampler.sample_all(&mut all).expect("/proc");
    all.retain(|sample| sample.ppid == pid);
    all
}

#[test]
fn a_keeper_that_the_daemon_started_leaves_no_zombie_however_late_it_ends() {
    let mut home = Home::start_with(&[("KEEPER_LINGERS", "1")]);
    let daemon = home.daemon_pid().expect("a daemon");
    os::process::kill(home.keeper_pid(), 9).expect("killed");
    home.wait_for_end();
    // The parent of the keeper is the daemon's child, and lives on for a while when the keeper has closed its connection.
    let parent = until("another keeper", || {
        children_of(daemon).first().map(|one| one.pid)
    });
    let keeper = until("the keeper itself", || {
        children_of(parent).first().map(|one| one.pid)
    });
    until_true("it holds the home", || {
        home.try_call("ping", &json!([{}])).is_some() && home.daemon_pid() == Some(daemon)
    });
    os::process::kill(keeper, 9).expect("killed");
    until_true("it is collected", || !os::process::exists(parent));
    assert_eq!(home.daemon_pid(), Some(daemon));
    assert!(children_of(daemon).iter().all(|child| child.state != b'Z'));
    os::process::kill(daemon, 15).expect("asked");
    until_true("the end", || !alive(daemon));
}

#[test]
fn a_witness_that_is_killed_has_a_successor_at_once() {
    let home = Home::start();
    let script = home.script(
        "serves.js",
        "require('http').createServer((q, s) => s.end()).listen(0, '127.0.0.1', () => require('fs').writeFileSync('up', ''))",
    );
    home.run("serves", "node", &script, &json!({ "exec_mode": "cluster_mode" }));
    until_true("it listens", || home.path().join("up").exists());
    let daemon = home.daemon_pid().expect("a daemon");
    let witness = || {
        children_of(daemon)
            .into_iter()
            .map(|child| child.pid)
            .find(|pid| alive(*pid) && name_of(*pid) == "pm2 witness")
    };
    let first = until("a witness", witness);
    os::process::kill(first, 9).expect("killed");
    let second = until("another witness", || witness().filter(|pid| *pid != first));
    assert!(!os::process::exists(first), "it is collected");
    // That one is worth as much.
    os::process::kill(second, 9).expect("killed");
    until("a third witness", || witness().filter(|pid| *pid != second));
}

#[test]
fn what_a_daemon_was_writing_when_it_was_killed_does_not_stay() {
    let home = Home::start();
    let daemon = home.daemon_pid().expect("a daemon");
    let unfinished = [
        format!("pids/app-0.pid.{daemon}.tmp"),
        format!("dump.pm2.{daemon}.tmp"),
    ];
    for name in &unfinished {
        home.script(name, "half");
    }
    home.script("mine.tmp", "whole");
    os::process::kill(daemon, 9).expect("killed");
    daemon_is_another(&home, daemon);
    until_true("they are gone", || {
        unfinished.iter().all(|name| !home.path().join(name).exists())
    });
    assert_eq!(home.log("mine.tmp"), "whole");
}
