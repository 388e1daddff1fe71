//! A home, a folder to work in, and the program.

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longest wait for a fact.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Place {
    dir: tempfile::TempDir,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place {
            dir: tempfile::tempdir().expect("a folder"),
        }
    }

    /// The folder in which commands run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn home(&self, name: &str) -> PathBuf {
        self.dir.path().join("home").join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("writing a file of the test");
        path
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_as(Path::new(env!("CARGO_BIN_EXE_pilothouse")), args)
    }

    pub(crate) fn command_as(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.dir.path()).env_clear();
        command
            .env("PM2_HOME", self.dir.path().join("home"))
            .env("HOME", self.dir.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Said {
        said(self.command(args).output().expect("running the program"))
    }

    /// Runs a command that must succeed; gives what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let said = self.run(args);
        assert_eq!(said.code, 0, "{args:?}: {said:?}");
        said.out
    }

    /// Runs a command that must fail; gives what it complained of.
    pub(crate) fn fails(&self, args: &[&str]) -> String {
        let said = self.run(args);
        assert_eq!(said.code, 1, "{args:?}: {said:?}");
        said.err
    }

    pub(crate) fn with_input(&self, args: &[&str], input: &str) -> Said {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .spawn()
            .expect("running the program");
        child
            .stdin
            .take()
            .expect("its input")
            .write_all(input.as_bytes())
            .expect("writing its input");
        said(child.wait_with_output().expect("its end"))
    }

    pub(crate) fn list(&self) -> Vec<Value> {
        let text = self.ok(&["jlist"]);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("jlist is no JSON: {e}: {text}"))
    }

    /// The one process of this name.
    pub(crate) fn app(&self, name: &str) -> Value {
        let mut found: Vec<Value> = self.list().into_iter().filter(|p| p["name"] == name).collect();
        assert_eq!(found.len(), 1, "processes called {name}: {found:?}");
        found.remove(0)
    }

    pub(crate) fn status(&self, name: &str) -> String {
        self.app(name)["pm2_env"]["status"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub(crate) fn daemon_pid(&self) -> Option<u32> {
        std::fs::read_to_string(self.home("pm2.pid"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Starts a command that goes on, and its lines of standard output.
    pub(crate) fn stream(&self, args: &[&str]) -> Stream {
        let mut child = self.command(args).spawn().expect("running the program");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Stream { child, lines }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // No daemon is started by `kill`; without one it has nothing to do.
        let _ = self.command(&["kill"]).output();
        // A shell may have begun another `sleep` in the very moment of its end; nothing may stay longer than that.
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut left = processes_of(self.dir.path());
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
            left = processes_of(self.dir.path());
        }
        for pid in &left {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
        if !std::thread::panicking() {
            assert!(left.is_empty(), "processes that outlived `kill`: {left:?}");
        }
    }
}

/// Processes whose command line or environment names the folder.
fn processes_of(dir: &Path) -> Vec<u32> {
    let needle = dir.as_os_str().as_encoded_bytes();
    let names =
        |path: PathBuf| std::fs::read(path).is_ok_and(|b| b.windows(needle.len()).any(|w| w == needle));
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        if pid != std::process::id()
            && (names(entry.path().join("cmdline")) || names(entry.path().join("environ")))
        {
            found.push(pid);
        }
    }
    found
}

pub(crate) struct Stream {
    child: Child,
    lines: Receiver<String>,
}

impl Stream {
    /// The next line that holds the text; what comes before it is passed over.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(_) => break,
            }
        }
        panic!("no line with {text:?}; seen: {seen:#?}");
    }

    /// A line that holds the text, if one came within a moment.
    pub(crate) fn hears(&self, text: &str) -> Option<String> {
        let deadline = Instant::now() + Duration::from_millis(200);
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(text) => return Some(line),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        None
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status();
        assert!(status.expect("running kill").success());
    }

    /// Closes the reading end, and gives how the command ended.
    pub(crate) fn hang_up(mut self) -> i32 {
        drop(std::mem::replace(&mut self.lines, channel().1));
        let mut status = None;
        until("the end of the command", || {
            status = self.child.try_wait().expect("its state");
            status.is_some()
        });
        status.and_then(|status| status.code()).unwrap_or(-1)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a fact.
pub(crate) fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !fact() {
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
