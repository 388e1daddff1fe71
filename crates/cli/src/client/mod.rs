//! The daemon's client: blocking, one socket, several calls under way at once where that helps. It drives a node PM2 daemon on the
//! same home just as well.

mod bus;
mod spawn;

pub(crate) use bus::{Bus, Heard};
pub(crate) use spawn::{SpawnError, spawn_daemon};

use pm2::axon::{Arg, AxonError, Decoder};
use pm2::home::Home;
use pm2::rpc::{Failure, Reply, encode_request, method};
use serde::Serialize;
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

/// For questions that the daemon answers out of its memory.
const QUICK: Duration = Duration::from_secs(5);
/// For actions on a process, which take as long as the app's kill_timeout or listen_timeout says.
const SLOW: Duration = Duration::from_secs(600);

/// No connection.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    /// Nobody listens.
    #[error("no daemon listens on {0}")]
    NotRunning(PathBuf),
    /// The socket belongs to somebody else.
    #[error("permission denied on {path}: the daemon of this home belongs to another user{hint}")]
    Denied { path: PathBuf, hint: String },
    /// Anything else.
    #[error("connecting to {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// A call that got no answer, or a refusal.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    /// The daemon said no; its own words.
    #[error("{0}")]
    Refused(#[from] Failure),
    /// The connection ended.
    #[error(
        "calling {method}: the daemon closed the connection; it may have been restarted, look at its log {log}"
    )]
    Gone { method: String, log: String },
    /// No answer in time.
    #[error("calling {method}: no answer on {path} within {} s; is it held by another program, or is the daemon overloaded?", .after.as_secs())]
    Late {
        method: String,
        path: String,
        after: Duration,
    },
    /// What answers does not speak PM2.
    #[error("calling {method}: {path} is taken by a program that does not speak PM2's protocol: {reason}")]
    Foreign {
        method: String,
        path: String,
        reason: String,
    },
    /// The socket failed.
    #[error("calling {method}: {source}")]
    Io { method: String, source: io::Error },
}

impl CallError {
    /// The daemon's own words, if it was the daemon who refused.
    pub(crate) fn refusal(&self) -> Option<&str> {
        match self {
            CallError::Refused(failure) => Some(&failure.message),
            _ => None,
        }
    }
}

/// A connection to `rpc.sock`.
pub(crate) struct Client {
    stream: UnixStream,
    decoder: Decoder,
    next: u64,
    /// Somebody who speaks the protocol is there.
    answered: bool,
    path: PathBuf,
    log: PathBuf,
}

/// The first result of a call, as the daemon wrote it. It holds the whole entry of a process, of which most callers want little.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer(Vec<u8>);

impl Answer {
    /// The JSON text.
    pub(crate) fn json(&self) -> &[u8] {
        &self.0
    }

    /// As a value; `null` if there is none.
    pub(crate) fn to_value(&self) -> Value {
        serde_json::from_slice(&self.0).unwrap_or(Value::Null)
    }
}

/// A call under way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    id: String,
    method: String,
}

impl Client {
    /// Connects to the daemon of this home.
    pub(crate) fn connect(home: &Home) -> Result<Client, ConnectError> {
        Self::connect_to(home, home.rpc_sock.clone())
    }

    /// Connects to the agent of this home: node PM2's has a process of its own.
    pub(crate) fn connect_agent(home: &Home) -> Result<Client, ConnectError> {
        Self::connect_to(home, home.interactor_sock.clone())
    }

    fn connect_to(home: &Home, path: PathBuf) -> Result<Client, ConnectError> {
        let stream = match UnixStream::connect(&path) {
            Ok(stream) => stream,
            Err(source) => return Err(connect_error(path, source)),
        };
        Ok(Client {
            stream,
            decoder: Decoder::default(),
            next: 0,
            answered: false,
            path,
            log: home.log_file.clone(),
        })
    }

    /// Calls a method that answers at once. Gives its first result, `null` if it has none.
    pub(crate) fn ask<T: Serialize + ?Sized>(&mut self, method: &str, args: &T) -> Result<Value, CallError> {
        let pending = self.begin(method, args)?;
        self.finish(&pending, QUICK)
    }

    /// Calls a method that does something to a process.
    pub(crate) fn act<T: Serialize + ?Sized>(&mut self, method: &str, args: &T) -> Result<Value, CallError> {
        if !self.answered {
            // What never answers must not be waited for as long as an app that takes its time.
            self.ask(method::PING, &(pm2::Object::new(),))?;
        }
        let pending = self.begin(method, args)?;
        self.finish(&pending, SLOW)
    }

    /// Sends a call without waiting for its answer.
    pub(crate) fn begin<T: Serialize + ?Sized>(
        &mut self,
        method: &str,
        args: &T,
    ) -> Result<Pending, CallError> {
        let id = format!("{}:{}", std::process::id(), self.next);
        self.next += 1;
        let frame = encode_request(&id, method, args).map_err(|error| self.foreign(method, &error))?;
        self.stream
            .set_write_timeout(Some(QUICK))
            .and_then(|()| self.stream.write_all(&frame))
            .map_err(|source| match source.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => self.gone(method),
                io::ErrorKind::WouldBlock => self.late(method, QUICK),
                _ => CallError::Io {
                    method: method.to_owned(),
                    source,
                },
            })?;
        Ok(Pending {
            id,
            method: method.to_owned(),
        })
    }

    /// Waits for the answer of one call; answers of others that come before it are dropped.
    pub(crate) fn finish(&mut self, pending: &Pending, limit: Duration) -> Result<Value, CallError> {
        loop {
            let (id, result) = self.next_reply(&pending.method, Instant::now() + limit, limit)?;
            if id == pending.id {
                return result;
            }
        }
    }

    /// The raw JSON text of the first result of a question; the caller parses as much of it as it needs.
    pub(crate) fn finish_raw(&mut self, pending: &Pending) -> Result<Vec<u8>, CallError> {
        let deadline = Instant::now() + QUICK;
        loop {
            let frame = self.next_frame(&pending.method, deadline, QUICK)?;
            if matches!(frame.last(), Some(Arg::Text(id)) if *id == pending.id) {
                let (_, answer) = self.answer_in(frame, &pending.method)?;
                return answer.map(|answer| answer.0);
            }
        }
    }

    /// The first result in a reply, unparsed, and the id of its call.
    fn answer_in(
        &self,
        frame: Vec<Arg>,
        method: &str,
    ) -> Result<(String, Result<Answer, CallError>), CallError> {
        if let [Arg::Json(bytes), Arg::Text(id)] = frame.as_slice()
            && let Some(inner) = bytes
                .strip_prefix(b"{\"args\":[")
                .and_then(|rest| rest.strip_suffix(b"]}"))
        {
            return Ok((id.clone(), Ok(Answer(inner.to_vec()))));
        }
        // An error, or another writer's spacing: take the long way.
        let reply = Reply::parse(frame).ok_or_else(|| self.foreign(method, &"a reply without envelope"))?;
        let answer = reply.result.map(|results| {
            let first = results.into_iter().next().unwrap_or(Value::Null);
            Answer(first.to_string().into_bytes())
        });
        Ok((reply.id, answer.map_err(CallError::Refused)))
    }

    /// Runs many calls of one method, at most `at_once` at a time. `each` hears of every answer with the position of its
    /// arguments; the first error ends the whole, after the calls under way were answered.
    pub(crate) fn act_on_each(
        &mut self,
        method: &str,
        args: Vec<Vec<Value>>,
        at_once: usize,
        mut each: impl FnMut(&mut Client, usize, Result<Answer, CallError>) -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        let mut waiting: VecDeque<(usize, Vec<Value>)> = args.into_iter().enumerate().collect();
        let mut running: Vec<(usize, Pending)> = Vec::new();
        let mut failed = None;
        loop {
            while failed.is_none() && running.len() < at_once.max(1) {
                let Some((at, args)) = waiting.pop_front() else {
                    break;
                };
                running.push((at, self.begin(method, &args)?));
            }
            if running.is_empty() {
                return failed.map_or(Ok(()), Err);
            }
            let frame = self.next_frame(method, Instant::now() + SLOW, SLOW)?;
            let (id, result) = self.answer_in(frame, method)?;
            let Some(found) = running.iter().position(|(_, pending)| pending.id == id) else {
                continue;
            };
            let (at, _) = running.swap_remove(found);
            if let Err(error) = each(self, at, result) {
                failed.get_or_insert(error);
            }
        }
    }

    fn next_reply(
        &mut self,
        method: &str,
        deadline: Instant,
        limit: Duration,
    ) -> Result<(String, Result<Value, CallError>), CallError> {
        let frame = self.next_frame(method, deadline, limit)?;
        let reply = Reply::parse(frame).ok_or_else(|| self.foreign(method, &"a reply without envelope"))?;
        let result = reply
            .result
            .map(|results| results.into_iter().next().unwrap_or(Value::Null));
        Ok((reply.id, result.map_err(CallError::Refused)))
    }

    fn next_frame(
        &mut self,
        method: &str,
        deadline: Instant,
        limit: Duration,
    ) -> Result<Vec<Arg>, CallError> {
        let mut buffer = [0; 64 * 1024];
        loop {
            if let Some(frame) = self
                .decoder
                .next_frame()
                .map_err(|error| self.foreign(method, &error))?
            {
                self.answered = true;
                return Ok(frame);
            }
            let left = deadline
                .checked_duration_since(Instant::now())
                .filter(|left| !left.is_zero())
                .ok_or_else(|| self.late(method, limit))?;
            let io_error = |source| CallError::Io {
                method: method.to_owned(),
                source,
            };
            self.stream.set_read_timeout(Some(left)).map_err(io_error)?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(self.gone(method)),
                Ok(n) => self.decoder.push(&buffer[..n]),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(self.late(method, limit));
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Err(self.gone(method)),
                Err(source) => return Err(io_error(source)),
            }
        }
    }

    /// Waits until the daemon has closed the connection.
    pub(crate) fn wait_for_end(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            match self.next_frame(method::KILL_ME, deadline, limit) {
                Ok(_) => {}
                Err(CallError::Gone { .. } | CallError::Io { .. }) => return true,
                Err(_) => return false,
            }
        }
    }

    fn gone(&self, method: &str) -> CallError {
        CallError::Gone {
            method: method.to_owned(),
            log: self.log.display().to_string(),
        }
    }

    fn late(&self, method: &str, after: Duration) -> CallError {
        CallError::Late {
            method: method.to_owned(),
            path: self.path.display().to_string(),
            after,
        }
    }

    fn foreign(&self, method: &str, reason: &dyn std::fmt::Display) -> CallError {
        CallError::Foreign {
            method: method.to_owned(),
            path: self.path.display().to_string(),
            reason: reason.to_string(),
        }
    }
}

impl From<AxonError> for CallError {
    fn from(error: AxonError) -> Self {
        CallError::Io {
            method: "a method".into(),
            source: io::Error::other(error),
        }
    }
}

fn connect_error(path: PathBuf, source: io::Error) -> ConnectError {
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ConnectError::NotRunning(path),
        io::ErrorKind::PermissionDenied => {
            let hint = owner_hint(&path);
            ConnectError::Denied { path, hint }
        }
        _ => ConnectError::Io { path, source },
    }
}

fn owner_hint(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    match std::fs::metadata(path) {
        Ok(meta) if meta.uid() == 0 => {
            format!(
                "; root owns it: run this as root, or give it away with `sudo chown $(id -u):$(id -g) {}`",
                path.display()
            )
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pm2::rpc::{Call, Request, encode_error, encode_reply};
    use std::os::unix::net::UnixListener;

    /// A daemon that answers each request by `answer`, in reverse order of pairs when `swap`.
    fn daemon(dir: &Path, swap: bool, answer: fn(&str, &[Value]) -> Result<Value, String>) -> Home {
        let home = Home::at(dir, |_| None);
        let listener = UnixListener::bind(&home.rpc_sock).unwrap();
        std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut decoder = Decoder::default();
            let mut buffer = [0; 1000];
            let mut held: Vec<Vec<u8>> = Vec::new();
            while let Ok(n @ 1..) = peer.read(&mut buffer) {
                decoder.push(&buffer[..n]);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    let request = Request::parse(frame).unwrap();
                    let Call::Method { name, args } = request.call else {
                        panic!("a method")
                    };
                    held.push(match answer(&name, &args) {
                        Ok(value) => encode_reply(&request.id, &(value,)).unwrap(),
                        Err(text) => encode_error(&request.id, &text, None).unwrap(),
                    });
                    if held.len() > usize::from(swap) {
                        for frame in held.drain(..).rev() {
                            peer.write_all(&frame).unwrap();
                        }
                    }
                }
            }
        });
        home
    }

    #[test]
    fn questions_get_their_own_answers() {
        let dir = tempfile::tempdir().unwrap();
        let home = daemon(dir.path(), true, |name, _| Ok(name.into()));
        let mut client = Client::connect(&home).unwrap();
        let first = client.begin("one", &[(); 0]).unwrap();
        let second = client.begin("two", &[(); 0]).unwrap();
        // The answers come in the other order; the wanted one is found.
        assert_eq!(client.finish(&first, QUICK).unwrap(), "one");
        drop(second);
    }

    #[test]
    fn many_calls_run_side_by_side_and_an_error_ends_them() {
        let dir = tempfile::tempdir().unwrap();
        let home = daemon(dir.path(), false, |_, args| match args[0].as_u64() {
            Some(2) => Err("2 : id unknown".into()),
            _ => Ok(args[0].clone()),
        });
        let mut client = Client::connect(&home).unwrap();
        let mut seen = Vec::new();
        let args = (0..5).map(|n| vec![Value::from(n)]).collect();
        let error = client
            .act_on_each("stopProcessId", args, 2, |_, at, result| {
                result.map(|answer| seen.push((at, answer.to_value().as_u64().unwrap() as usize)))
            })
            .unwrap_err();
        assert_eq!(error.refusal(), Some("2 : id unknown"));
        assert!(seen.iter().all(|(at, value)| at == value) && !seen.contains(&(4, 4)));
    }

    #[test]
    fn a_dead_home_and_a_taken_socket_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path(), |_| None);
        assert!(matches!(Client::connect(&home), Err(ConnectError::NotRunning(_))));
        std::fs::write(&home.rpc_sock, "not a socket").unwrap();
        assert!(matches!(Client::connect(&home), Err(ConnectError::NotRunning(_))));
        std::fs::remove_file(&home.rpc_sock).unwrap();
        let listener = UnixListener::bind(&home.rpc_sock).unwrap();
        std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let _ = peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            let _ = peer.read(&mut [0; 1000]);
        });
        let mut client = Client::connect(&home).unwrap();
        let error = client.ask(method::PING, &({},)).unwrap_err();
        assert!(matches!(error, CallError::Foreign { .. }), "{error}");
    }

    #[test]
    fn a_raw_result_is_the_daemons_own_text() {
        let dir = tempfile::tempdir().unwrap();
        let home = daemon(dir.path(), false, |name, _| match name {
            "getMonitorData" => Ok(serde_json::json!([{ "pid": 1 }])),
            _ => Err("no".into()),
        });
        let mut client = Client::connect(&home).unwrap();
        let pending = client.begin("getMonitorData", &({},)).unwrap();
        assert_eq!(client.finish_raw(&pending).unwrap(), br#"[{"pid":1}]"#);
        let pending = client.begin("other", &({},)).unwrap();
        assert_eq!(client.finish_raw(&pending).unwrap_err().refusal(), Some("no"));
    }
}
