//! What the daemon itself spends: its loop's turns over a time as a CPU profile, what it holds as a heap profile, in the forms that Chrome's
//! developer tools open. There is no V8 here; the frames are what the loop was doing, and for whom.

mod cpu;
mod memory;

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};
use supervisor::Mono;

pub(crate) use cpu::Recorder;

use crate::clock;
use crate::event::Event;
use crate::owner::Daemon;
use crate::rpc::Responder;

/// Longest profile.
const MAX_MS: u64 = 10 * 60 * 1000;

/// A CPU profile in progress.
#[derive(Debug)]
pub(crate) struct Profile {
    recorder: Recorder,
    until: Mono,
    file: PathBuf,
    responder: Responder,
}

/// Where a client wants a profile to be, and for how long it is to be taken.
struct Wish {
    file: PathBuf,
    ms: u64,
}

impl Wish {
    fn read(argument: &Value) -> Result<Self, &'static str> {
        let file = argument.get("pwd").and_then(Value::as_str).unwrap_or_default();
        if !file.starts_with('/') {
            return Err("pwd must be the absolute path of the file to write");
        }
        let ms = argument
            .get("timeout")
            .and_then(pm2::js::as_int)
            .and_then(|ms| u64::try_from(ms).ok());
        Ok(Self {
            file: file.into(),
            ms: ms.unwrap_or(0).clamp(1, MAX_MS),
        })
    }
}

impl Daemon {
    /// Record what the loop does from now on; the answer comes when the time is over.
    pub(crate) fn profile_cpu(&mut self, argument: &Value, responder: Responder) {
        if self.profile.is_some() {
            return responder.value(&json!({ "error": "A profiling is already running" }));
        }
        match Wish::read(argument) {
            Ok(Wish { file, ms }) => {
                self.profile = Some(Profile {
                    recorder: Recorder::start(),
                    until: Mono(clock::mono().0 + ms),
                    file,
                    responder,
                });
            }
            Err(reason) => responder.value(&json!({ "error": reason })),
        }
    }

    /// Tell what the memory is made of, now.
    pub(crate) fn profile_memory(&mut self, argument: &Value, responder: Responder) {
        match Wish::read(argument) {
            Ok(Wish { file, .. }) => {
                let profile = memory::profile(&self.held());
                write(file, profile, responder);
            }
            Err(reason) => responder.value(&json!({ "error": reason })),
        }
    }

    /// When a profile ends.
    pub(crate) fn profile_end(&self) -> Option<Mono> {
        self.profile.as_ref().map(|profile| profile.until)
    }

    /// Write the profile, if its time is over.
    pub(crate) fn end_profile(&mut self, now: Mono) {
        if let Some(profile) = self.profile.take_if(|profile| profile.until <= now) {
            write(profile.file, profile.recorder.finish(), profile.responder);
        }
    }

    /// A turn of the loop begins; `None` while nothing is recorded.
    pub(crate) fn turn_begins(&self, name: impl FnOnce(&Self) -> String) -> Option<(String, u64)> {
        self.profile.is_some().then(|| (name(self), cpu::now_us()))
    }

    /// It has ended.
    pub(crate) fn turn_ended(&mut self, turn: Option<(String, u64)>) {
        if let (Some(profile), Some((name, began_us))) = (&mut self.profile, turn) {
            profile.recorder.turn(name, began_us, cpu::now_us());
        }
    }

    /// What an event is called in a profile.
    pub(crate) fn name_of(&self, event: &Event) -> String {
        match event {
            Event::Request { call, .. } => match call {
                pm2::rpc::Call::Method { name, .. } => {
                    format!("request {}", name.chars().take(40).collect::<String>())
                }
                pm2::rpc::Call::Methods => "request methods".into(),
            },
            Event::ChannelReady { incarnation } => {
                let app = self
                    .lives
                    .get(incarnation)
                    .and_then(|life| self.apps.get(&life.id));
                match app {
                    Some(app) => format!("messages of {}", app.env.name()),
                    None => "messages".into(),
                }
            }
            other => cpu::variant_name(other),
        }
    }

    /// What is held in memory, as far as somebody counts it.
    fn held(&self) -> memory::Held {
        memory::Held {
            processes: self
                .apps
                .iter()
                .map(|(id, app)| (format!("{}:{}", app.env.name(), id.0), app.env.size()))
                .collect(),
            bus: self.bus.queued(),
            scratch: self.scratch.capacity() as u64,
            usage: os::proc::memory_of(std::process::id()),
        }
    }
}

/// The file is written by another thread, which also answers.
fn write(file: PathBuf, profile: Value, responder: Responder) {
    tokio::task::spawn_blocking(move || {
        let text = profile.to_string();
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options
            .open(&file)
            .and_then(|mut out| out.write_all(text.as_bytes()));
        match written {
            Ok(()) => responder.value(&json!({ "file": file })),
            Err(error) => {
                responder.value(&json!({ "error": format!("writing {}: {error}", file.display()) }));
            }
        }
    });
}
