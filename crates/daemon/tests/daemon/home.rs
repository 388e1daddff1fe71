//! A home of its own for a test: keeper and daemon run in it, and nothing of it is left behind.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pm2::axon::Decoder;
use pm2::rpc::{Reply, encode_request};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Nothing in these tests takes this long unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Home {
    dir: TempDir,
    keeper: Child,
}

impl Home {
    /// Start a keeper, and wait until its daemon answers.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(env: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let log = std::fs::File::create(dir.path().join("pm2.log")).expect("the log");
        let keeper = Command::new(env!("CARGO_BIN_EXE_daemon-under-test"))
            .arg("keeper")
            .arg(dir.path())
            .env("PM2_HOME", dir.path())
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log)
            .spawn()
            .expect("a keeper");
        let home = Self { dir, keeper };
        until("the daemon answers", || {
            home.try_call("ping", &json!([{}])).map(drop)
        });
        home
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn keeper_pid(&self) -> u32 {
        self.keeper.id()
    }

    pub(crate) fn daemon_pid(&self) -> Option<u32> {
        std::fs::read_to_string(self.path().join("pm2.pid"))
            .ok()?
            .parse()
            .ok()
    }

    /// Write a file into the home's folder for scripts.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("a script");
        path
    }

    /// The resolved app that a CLI would send.
    pub(crate) fn app(&self, name: &str, interpreter: &str, script: &Path, more: &Value) -> Value {
        let logs = self.path().join("logs");
        let mut app = json!({
            "name": name,
            "namespace": "default",
            "env": { "PATH": std::env::var("PATH").unwrap_or_default(), "PM2_HOME": self.path(), name: {} },
            "merge_logs": true,
            "autorestart": true,
            "autostart": true,
            "treekill": true,
            "instance_var": "NODE_APP_INSTANCE",
            "pm_exec_path": script,
            "pm_cwd": self.path(),
            "exec_interpreter": interpreter,
            "exec_mode": "fork_mode",
            "instances": 1,
            "pm_out_log_path": logs.join(format!("{name}-out.log")),
            "pm_err_log_path": logs.join(format!("{name}-error.log")),
            "pm_pid_path": self.path().join("pids").join(format!("{name}.pid")),
        });
        if let (Value::Object(app), Value::Object(more)) = (&mut app, more) {
            for (key, value) in more {
                match (key.as_str(), value) {
                    ("env", Value::Object(vars)) => {
                        if let Some(Value::Object(env)) = app.get_mut("env") {
                            env.extend(vars.clone());
                        }
                    }
                    _ => {
                        app.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        app
    }

    /// Call a method and take its first result.
    pub(crate) fn call(&self, method: &str, args: &Value) -> Result<Value, String> {
        self.try_call(method, args)
            .unwrap_or_else(|| panic!("no answer to {method}; log:\n{}", self.log("pm2.log")))
    }

    pub(crate) fn try_call(&self, method: &str, args: &Value) -> Option<Result<Value, String>> {
        let mut socket = UnixStream::connect(self.path().join("rpc.sock")).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).ok()?;
        socket
            .write_all(&encode_request("1:0", method, args).ok()?)
            .ok()?;
        let frame = next_frame(&mut socket, &mut Decoder::default())?;
        let reply = Reply::parse(frame)?;
        Some(match reply.result {
            Ok(results) => Ok(results.into_iter().next().unwrap_or(Value::Null)),
            Err(failure) => Err(failure.message),
        })
    }

    /// Start an app; gives its number.
    pub(crate) fn run(&self, name: &str, interpreter: &str, script: &Path, more: &Value) -> u64 {
        let started = self
            .call("prepare", &json!([self.app(name, interpreter, script, more)]))
            .expect("started");
        started[0]["pm2_env"]["pm_id"].as_u64().expect("a number")
    }

    pub(crate) fn list(&self) -> Vec<Value> {
        match self.call("getMonitorData", &json!([{}])) {
            Ok(Value::Array(list)) => list,
            other => panic!("not a list: {other:?}"),
        }
    }

    pub(crate) fn show(&self, id: u64) -> Value {
        self.list()
            .into_iter()
            .find(|process| process["pm_id"] == id)
            .unwrap_or(Value::Null)
    }

    pub(crate) fn pid(&self, id: u64) -> u32 {
        u32::try_from(self.show(id)["pid"].as_u64().unwrap_or(0)).unwrap_or(0)
    }

    pub(crate) fn status(&self, id: u64) -> String {
        self.show(id)["pm2_env"]["status"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The text of a file below the home; empty if there is none.
    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read(self.path().join(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Wait until the keeper has ended by itself.
    pub(crate) fn wait_for_end(&mut self) {
        until("the keeper ends", || self.keeper.try_wait().ok().flatten());
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let pids: Vec<u32> = self
            .try_call("getMonitorData", &json!([{}]))
            .and_then(Result::ok)
            .and_then(|list| list.as_array().cloned())
            .unwrap_or_default()
            .iter()
            .filter_map(|process| u32::try_from(process["pid"].as_u64()?).ok())
            .collect();
        // Each of the two starts the other again. A keeper that is held can't, and a daemon whose keeper is held misses nothing; the
        // keeper may be another than the first one.
        let daemon = self.daemon_pid();
        let keeper = daemon.and_then(parent_of).unwrap_or_else(|| self.keeper.id());
        let _ = os::process::kill(keeper, STOP);
        for pid in daemon.into_iter().chain(pids).chain([keeper]) {
            let _ = os::process::kill(pid, KILL);
        }
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "--- pm2.log\n{}", self.log("pm2.log"));
        }
    }
}

const KILL: i32 = 9;
const STOP: i32 = 19;

/// The parent of a process.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

pub(crate) fn next_frame(socket: &mut UnixStream, decoder: &mut Decoder) -> Option<Vec<pm2::axon::Arg>> {
    let mut buffer = [0; 64 * 1024];
    loop {
        if let Some(frame) = decoder.next_frame().ok()? {
            return Some(frame);
        }
        let read = socket.read(&mut buffer).ok()?;
        if read == 0 {
            return None;
        }
        decoder.push(&buffer[..read]);
    }
}

/// Wait for a fact.
pub(crate) fn until<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = fact() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Wait until something is so.
pub(crate) fn until_true(what: &str, mut fact: impl FnMut() -> bool) {
    until(what, || fact().then_some(()));
}

pub(crate) fn alive(pid: u32) -> bool {
    pid != 0 && os::process::exists(pid) && !is_zombie(pid)
}

/// What a process is called; empty if there is none.
pub(crate) fn name_of(pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    name.unwrap_or_default().trim_end().to_owned()
}

fn is_zombie(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| rest.trim_start().starts_with('Z'))
}
