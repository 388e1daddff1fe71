//! Verbs of the command line that the hub asks for (`pull`, `install` …): this very program runs as a child with the verb, as if somebody had
//! typed it on this host. What it says is told while it runs; what runs longer than the hub waits is ended, with all that it started.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use agent::{ActionCall, ActionError, ActionErrorCode, redact};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::time::Instant;

use crate::agent_actions::error;
use crate::event::Event;
use crate::owner::Daemon;

/// So many at once; each may load the machine.
pub(crate) const AT_ONCE: usize = 4;
/// What is said within this time is told in one piece.
const GATHER: Duration = Duration::from_millis(100);
/// Bytes told while it runs; what is more is not told.
const MOST_TOLD: usize = 256 * 1024;
/// Bytes told in one piece.
const PIECE: usize = 16 * 1024;
/// Bytes of its last words, which come with the result.
const TAIL: usize = 8 * 1024;
/// Bytes of its last words in the sentence that says why it failed.
const REASON: usize = 1200;

impl Daemon {
    /// Runs a verb for the hub; the answer goes straight to the agent that brought the request.
    pub(crate) fn begin_chore(
        &mut self,
        call: &ActionCall,
        what: &str,
        words: [String; 2],
    ) -> Result<(), ActionError> {
        let busy = || {
            let text =
                format!("{AT_ONCE} such actions run on this host already: try again when one has ended");
            error(ActionErrorCode::Busy, text)
        };
        let place = self.chores.clone().try_acquire_owned().map_err(|_| busy())?;
        let Some(handle) = self.agent.handle() else {
            return Err(error(ActionErrorCode::Gone, "the agent has ended"));
        };
        let chore = Chore {
            exe: self.respawn.exe.clone(),
            home: self.home.root.clone(),
            words,
            timeout: call.timeout,
        };
        let (request, what, events) = (call.id, what.to_owned(), self.events.clone());
        tokio::spawn(async move {
            let told = |text: String| handle.progress(request, Value::String(text).to_string());
            let outcome = chore.run(told).await;
            drop(place);
            let logged = outcome.as_ref().map(drop).map_err(|error| error.message.clone());
            handle.reply(request, outcome.map(|done| done.to_string()));
            // Without a loop nobody writes the log any more.
            let _ = events
                .send(Event::ChoreEnded {
                    what,
                    outcome: logged,
                })
                .await;
        });
        Ok(())
    }
}

struct Chore {
    exe: PathBuf,
    home: PathBuf,
    words: [String; 2],
    timeout: Duration,
}

impl Chore {
    /// Runs it to its end; gives its last words, or why it failed.
    async fn run(self, told: impl Fn(String)) -> Result<Value, ActionError> {
        let verb = self.words[0].clone();
        let failed = |e: io::Error| error(ActionErrorCode::Failed, format!("running {verb}: {e}"));
        let mut words = Words::default();
        let patience = self.timeout;
        let child = Group::start(self.command()).map_err(failed)?;
        let ended = tokio::time::timeout(patience, child.hear(&mut words, &told)).await;
        if let Some(rest) = words.end() {
            told(rest);
        }
        let status = match ended {
            Ok(status) => status.map_err(failed)?,
            Err(_) => {
                let text = format!("{verb} was ended: it took longer than {} s", patience.as_secs());
                return Err(error(ActionErrorCode::TimedOut, text));
            }
        };
        if status.success() {
            return Ok(json!({ "output": words.tail, "truncated": words.is_cut }));
        }
        let why = match status.code() {
            Some(code) => format!("{verb} ended with exit code {code}"),
            None => format!("{verb} was ended by a signal"),
        };
        let text = match end_of(words.tail.trim_end(), REASON) {
            "" => why,
            said => format!("{why}:\n{said}"),
        };
        Err(error(ActionErrorCode::Failed, text))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.exe);
        command
            .arg0("pilothouse")
            .args(&self.words)
            // The list has processes in it of which nothing leaves this host.
            .args(["--no-list", "--no-color"])
            .current_dir(&self.home)
            .env("PM2_HOME", &self.home)
            .stdin(Stdio::null())
            .process_group(0);
        for name in own_variables() {
            command.env_remove(name);
        }
        command
    }
}

/// What the keeper tells a daemon, and what a caller of the daemon wanted for itself.
fn own_variables() -> [OsString; 4] {
    [
        keeper::KEEPER_FD.into(),
        keeper::READY_FD.into(),
        "PM2_SILENT".into(),
        "FORCE_COLOR".into(),
    ]
}

/// A child with all that it started. What still runs is ended when this is dropped.
struct Group {
    child: tokio::process::Child,
    output: pipe::Receiver,
    ended: bool,
}

impl Group {
    fn start(mut command: Command) -> io::Result<Self> {
        let (ours, theirs) = os::fd::pipe()?;
        command.stdout(os::fd::duplicate(&theirs)?).stderr(theirs);
        let output = pipe::Receiver::from_owned_fd(ours)?;
        let child = tokio::process::Command::from(command).spawn()?;
        Ok(Self {
            child,
            output,
            ended: false,
        })
    }

    /// Hears what it says until it ends; what others still hold of its output is not waited for.
    async fn hear(mut self, words: &mut Words, told: &impl Fn(String)) -> io::Result<ExitStatus> {
        let mut buffer = vec![0; 8192];
        let mut due: Option<Instant> = None;
        let status = loop {
            tokio::select! {
                biased;
                read = self.output.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => break self.child.wait().await?,
                    Ok(n) => {
                        words.push(&buffer[..n]);
                        due.get_or_insert_with(|| Instant::now() + GATHER);
                    }
                },
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = None;
                    while let Some(piece) = words.piece() {
                        told(piece);
                    }
                }
                status = self.child.wait() => break status?,
            }
        };
        self.ended = true;
        // Its very last words may still be in the pipe.
        while let Ok(n @ 1..) = self.output.try_read(&mut buffer) {
            words.push(&buffer[..n]);
        }
        while let Some(piece) = words.piece() {
            told(piece);
        }
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = pid.and_then(rustix::process::Pid::from_raw) {
            // It may have ended this moment; it has not been reaped, so the number is still its own.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// What a child says: whole lines, without colours and without what is secret in addresses; bounded.
#[derive(Debug, Default)]
struct Words {
    /// A line whose end has not come.
    part: Vec<u8>,
    /// What has not been told.
    waiting: String,
    told: usize,
    tail: String,
    is_cut: bool,
}

impl Words {
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.part.push(*byte);
            if *byte == b'\n' || self.part.len() >= PIECE {
                self.line();
            }
        }
    }

    fn line(&mut self) {
        let part = std::mem::take(&mut self.part);
        let text = redact::addresses(&plain(&String::from_utf8_lossy(&part)));
        self.tail.push_str(&text);
        if self.tail.len() > 2 * TAIL {
            self.tail = end_of(&self.tail, TAIL).to_owned();
            self.is_cut = true;
        }
        if self.told + self.waiting.len() + text.len() <= MOST_TOLD {
            self.waiting.push_str(&text);
        } else if self.told < MOST_TOLD {
            // Once, and then nothing more.
            self.waiting
                .push_str("… what follows is too much to be shown here\n");
            self.told = MOST_TOLD;
        }
    }

    /// The next piece to be told.
    fn piece(&mut self) -> Option<String> {
        if self.waiting.is_empty() {
            return None;
        }
        let end = redact::clip(&self.waiting, PIECE).len();
        let rest = self.waiting.split_off(end);
        let piece = std::mem::replace(&mut self.waiting, rest);
        self.told = self.told.saturating_add(piece.len());
        Some(piece)
    }

    /// It says nothing more.
    fn end(&mut self) -> Option<String> {
        if !self.part.is_empty() {
            self.line();
        }
        Some(std::mem::take(&mut self.waiting)).filter(|rest| !rest.is_empty())
    }
}

/// The last bytes of a text, at most `max`, from the beginning of a character.
fn end_of(text: &str, max: usize) -> &str {
    let from = text.len().saturating_sub(max);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at));
    &text[from.unwrap_or(text.len())..]
}

/// Without what moves a cursor or changes colours.
fn plain(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        match c {
            '\u{1b}' if letters.next_if_eq(&'[').is_some() => {
                while letters.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
            '\n' | '\t' => clean.push(c),
            c if c.is_control() => {}
            c => clean.push(c),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null()).process_group(0);
        command
    }

    async fn heard(script: &str) -> (ExitStatus, Vec<String>, Words) {
        let told = Mutex::new(Vec::new());
        let mut words = Words::default();
        let child = Group::start(shell(script)).unwrap();
        let status = child
            .hear(&mut words, &|text| told.lock().unwrap().push(text))
            .await
            .unwrap();
        let mut told = told.into_inner().unwrap();
        told.extend(words.end());
        (status, told, words)
    }

    #[tokio::test]
    async fn both_streams_are_heard_in_order_and_without_colours() {
        let script = "printf 'one\\n'; printf '\\033[31mtwo\\033[0m\\n' >&2; printf 'from https://me:word@h/r.git\\nend'";
        let (status, told, words) = heard(script).await;
        assert!(status.success());
        assert_eq!(told.concat(), "one\ntwo\nfrom https://[redacted]@h/r.git\nend");
        assert_eq!(words.tail, told.concat());
    }

    #[tokio::test]
    async fn who_says_too_much_is_cut_and_its_last_words_are_kept() {
        let (status, told, words) =
            heard("i=0; while [ $i -lt 6000 ]; do echo \"$i aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"; i=$((i+1)); done; exit 3")
                .await;
        assert_eq!(status.code(), Some(3));
        let told = told.concat();
        assert!(told.len() <= MOST_TOLD + 100, "{}", told.len());
        assert!(told.starts_with("0 aaa") && told.ends_with("too much to be shown here\n"));
        assert!(words.tail.contains("5999 aaa") && words.tail.len() <= 2 * TAIL);
    }

    #[tokio::test]
    async fn what_takes_too_long_is_ended_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        // The grandchild holds the write end: the reader sees the end of it only when both are gone.
        let script = format!("mkfifo {0}; sh -c 'exec sleep 600' >{0} & wait", fifo.display());
        let (opened, both_ends_are_open) = tokio::sync::oneshot::channel();
        let reader = tokio::task::spawn_blocking(move || {
            while !fifo.exists() {
                std::thread::sleep(Duration::from_millis(2));
            }
            let mut file = std::fs::File::open(&fifo).unwrap();
            opened.send(()).unwrap();
            io::Read::read_to_end(&mut file, &mut Vec::new()).unwrap();
        });
        let child = Group::start(shell(&script)).unwrap();
        let mut words = Words::default();
        tokio::select! {
            ended = child.hear(&mut words, &|_| {}) => panic!("it ended by itself: {ended:?}"),
            opened = both_ends_are_open => opened.unwrap(),
        }
        // Nobody listens any more: it has been dropped.
        tokio::time::timeout(Duration::from_secs(20), reader)
            .await
            .unwrap()
            .unwrap();
    }

    #[test]
    fn bytes_that_are_no_text_are_harmless() {
        let mut words = Words::default();
        words.push(&[0xff, 0xfe, b'\r', b'\n', 0x1b, b'[']);
        words.push(&vec![b'x'; 5 * PIECE]);
        let mut told = String::new();
        while let Some(piece) = words.piece() {
            assert!(piece.len() <= PIECE);
            told += &piece;
        }
        told += &words.end().unwrap_or_default();
        assert!(told.starts_with("\u{fffd}\u{fffd}\n") && told.ends_with('x'));
    }
}
