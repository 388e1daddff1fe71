//! Where news comes from, and what does things: threads, so that nothing slow ever holds the screen.

use super::logs::{Line, Side, Subject};
use super::model::{Action, Command};
use super::update::{Message, TailWish};
use crate::client::{Bus, CallError, Client};
use crate::failure::Failure;
use crate::process::{Process, TABLE_FIELDS, asked, parse_list};
use crate::render;
use crate::style::Brush;
use os::signal::SignalFd;
use pm2::Object;
use pm2::home::Home;
use pm2::rpc::method;
use ratatui::crossterm::event;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

/// Messages that wait for the screen. When it is full the sources wait, and the daemon counts what the bus lost.
const WAITING: usize = 4_096;
/// How often the list is asked for.
const EVERY: Duration = Duration::from_secs(1);
/// Lines that are read from the end of each log file.
const PAST: usize = 300;
/// How long the bus is listened to before the thread looks whether it is still wanted.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the list shows beside the fields of the table.
const DETAIL_FIELDS: &[&str] = &[
    "args",
    "axm_actions",
    "axm_monitor",
    "cron_restart",
    "exec_interpreter",
    "exit_code",
    "max_memory_restart",
    "node_version",
    "pm_cwd",
    "pm_exec_path",
    "pm_out_log_path",
    "unstable_restarts",
];

/// The running threads.
pub(super) struct Sources {
    pub(super) messages: Receiver<Message>,
    /// Wakes the asker of the list.
    wake: Sender<()>,
    tails: Sender<TailWish>,
    commands: Sender<Command>,
}

impl Sources {
    /// Starts them. `client` is connected already.
    pub(super) fn start(home: &Home, client: Client, signals: SignalFd) -> io::Result<Sources> {
        let (tell, messages) = sync_channel(WAITING);
        let (wake, woken) = channel();
        let (tails, wishes) = channel();
        let (commands, orders) = channel();
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(body)
                .map(|_| ())
        };
        let to = tell.clone();
        let asked = home.clone();
        spawn(
            "list",
            Box::new(move || ask_for_ever(&asked, Some(client), &woken, &to)),
        )?;
        let to = tell.clone();
        let path = home.pub_sock.clone();
        spawn("bus", Box::new(move || listen(&path, &to)))?;
        let to = tell.clone();
        spawn("tail", Box::new(move || read_tails(&wishes, &to)))?;
        let to = tell.clone();
        let root = home.root.clone();
        spawn("actions", Box::new(move || act(&root, &orders, &to)))?;
        let to = tell.clone();
        spawn("signals", Box::new(move || wait_for_end(&signals, &to)))?;
        spawn("keyboard", Box::new(move || read_terminal(&tell)))?;
        Ok(Sources {
            messages,
            wake,
            tails,
            commands,
        })
    }

    // A thread that is gone has said so by its last message; there is nothing more to do about it here.
    pub(super) fn poll(&self) {
        let _ = self.wake.send(());
    }

    pub(super) fn tail(&self, wish: TailWish) {
        let _ = self.tails.send(wish);
    }

    pub(super) fn run(&self, command: Command) {
        let _ = self.commands.send(command);
    }
}

fn ask_for_ever(home: &Home, mut client: Option<Client>, woken: &Receiver<()>, tell: &SyncSender<Message>) {
    loop {
        let news = match &mut client {
            Some(client) => ask(client).map_err(|error| error.to_string()),
            None => match Client::connect(home) {
                Ok(mut fresh) => {
                    let news = ask(&mut fresh).map_err(|error| error.to_string());
                    client = Some(fresh);
                    news
                }
                Err(error) => Err(error.to_string()),
            },
        };
        if news.is_err() {
            client = None;
        }
        if tell.send(Message::List(news)).is_err() {
            return;
        }
        match woken.recv_timeout(EVERY) {
            // Several wishes are one.
            Ok(()) => while woken.try_recv().is_ok() {},
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn ask(client: &mut Client) -> Result<(Vec<Process>, Option<String>), Failure> {
    let fields: Vec<&str> = TABLE_FIELDS.iter().chain(DETAIL_FIELDS).copied().collect();
    let host = client.begin(method::GET_SYSTEM_DATA, &(Object::new(),))?;
    let list = client.begin(method::GET_MONITOR_DATA, &(asked(Some(&fields)),))?;
    // A daemon without host metrics refuses.
    let host = match client.finish_raw(&host) {
        Ok(json) => serde_json::from_slice(&json).unwrap_or(Value::Null),
        Err(CallError::Refused(_)) => Value::Null,
        Err(error) => return Err(error.into()),
    };
    let processes = parse_list(&client.finish_raw(&list)?, Some(&fields))?;
    Ok((processes, render::host_line(&host, Brush { on: false })))
}

fn listen(path: &Path, tell: &SyncSender<Message>) {
    let mut bus = loop {
        match Bus::connect(path) {
            Ok(bus) => break bus,
            Err(_) => thread::sleep(PATIENCE),
        }
    };
    loop {
        let Some(message) = bus.next(PATIENCE) else {
            continue;
        };
        let side = match message.topic.as_str() {
            pm2::bus::TOPIC_LOG_OUT => Side::Out,
            pm2::bus::TOPIC_LOG_ERR => Side::Err,
            pm2::bus::TOPIC_LOG_PM2 => Side::Daemon,
            _ => continue,
        };
        let process = message.data.get("process");
        let name = process
            .and_then(|process| process.get("name"))
            .and_then(Value::as_str);
        let id = process
            .and_then(|process| process.get("pm_id"))
            .and_then(pm2::js::as_int)
            .and_then(|id| u32::try_from(id).ok());
        let Some(data) = message.data.get("data").and_then(Value::as_str) else {
            continue;
        };
        for text in data.lines() {
            let line = Line::new(id, name.unwrap_or("PM2"), side, text);
            if tell.send(Message::Line(line)).is_err() {
                return;
            }
        }
    }
}

fn read_tails(wishes: &Receiver<TailWish>, tell: &SyncSender<Message>) {
    while let Ok(mut wish) = wishes.recv() {
        // Who runs through the list wants only the last one.
        while let Ok(newer) = wishes.try_recv() {
            wish = newer;
        }
        let mut lines = Vec::new();
        for (id, name, out, err) in &wish.files {
            for (path, side) in [(err, Side::Err), (out, Side::Out)] {
                let Some(path) = path else { continue };
                // A file that can't be read has no past to show; what comes by the bus is shown all the same.
                let past = logs::tail::last_lines(Path::new(path), PAST).unwrap_or_default();
                lines.extend(
                    past.iter()
                        .map(|text| Line::new(Some(*id), name, side, &String::from_utf8_lossy(text))),
                );
            }
        }
        if matches!(wish.subject, Subject::One(_)) && tell.send(Message::Past(wish.subject, lines)).is_err() {
            return;
        }
    }
}

/// One action after the other, each by this program's own verb: what it checks and tells is the same as at the prompt.
fn act(root: &Path, orders: &Receiver<Command>, tell: &SyncSender<Message>) {
    while let Ok(command) = orders.recv() {
        let outcome = std::env::current_exe()
            .map_err(|error| format!("finding this program: {error}"))
            .and_then(|program| run_verb(&program, root, &command));
        if tell.send(Message::Done(command, outcome)).is_err() {
            return;
        }
    }
}

fn run_verb(program: &PathBuf, root: &Path, command: &Command) -> Result<(), String> {
    let id = command.id.to_string();
    let mut verb = std::process::Command::new(program);
    match command.action {
        Action::Restart | Action::Start => verb.args(["restart", &id]),
        Action::Reload => verb.args(["reload", &id]),
        Action::Stop => verb.args(["stop", &id]),
        Action::Delete => verb.args(["delete", &id]),
        Action::Reset => verb.args(["reset", &id]),
        Action::Flush => verb.args(["flush", &id]),
        Action::Scale(count) => verb.args(["scale", &command.name, &count.to_string()]),
    };
    let output = verb
        .env("PM2_HOME", root)
        .env("NO_COLOR", "1")
        .env_remove("PM2_SILENT")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("running {}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    let reason = last.unwrap_or("it failed without a word");
    Err(reason
        .trim_start_matches("[PM2]")
        .trim_start_matches("[ERROR]")
        .trim()
        .to_owned())
}

fn wait_for_end(signals: &SignalFd, tell: &SyncSender<Message>) {
    loop {
        let mut ready = [PollFd::new(signals, PollFlags::IN)];
        // An error ends the wait too: without it nothing else would.
        match poll(&mut ready, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Ok(_) if matches!(signals.next(), Ok(None)) => continue,
            _ => {}
        }
        let _ = tell.send(Message::End);
        return;
    }
}

fn read_terminal(tell: &SyncSender<Message>) {
    loop {
        let message = match event::read() {
            Ok(event) => Message::Terminal(event),
            // The terminal is gone.
            Err(_) => Message::End,
        };
        let last = matches!(message, Message::End);
        if tell.send(message).is_err() || last {
            return;
        }
    }
}
