//! Listening to `pub.sock`.

use pm2::axon::Decoder;
use pm2::bus::Message;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A subscriber that comes back by itself when the daemon was restarted.
pub(crate) struct Bus {
    path: PathBuf,
    stream: Option<UnixStream>,
    decoder: Decoder,
    ready: VecDeque<Message>,
    pause: Duration,
}

/// What came of listening.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    /// A message.
    Message(Message),
    /// The other descriptor has something to say.
    Other,
    /// Nothing, for as long as was waited.
    Nothing,
    /// The connection is lost; it is made anew with the next call.
    Lost,
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Bus {
    /// Connects; what is published from now on will be heard.
    pub(crate) fn connect(path: &Path) -> io::Result<Bus> {
        let stream = UnixStream::connect(path)?;
        Ok(Bus {
            path: path.to_owned(),
            stream: Some(stream),
            decoder: Decoder::default(),
            ready: VecDeque::new(),
            pause: FIRST_PAUSE,
        })
    }

    /// The next message, or `None` if there was none for `patience`. A lost connection is made anew, ever more slowly.
    pub(crate) fn next(&mut self, patience: Duration) -> Option<Message> {
        if let Some(message) = self.ready.pop_front() {
            return Some(message);
        }
        let Some(stream) = &mut self.stream else {
            std::thread::sleep(self.pause.min(patience));
            match UnixStream::connect(&self.path) {
                Ok(stream) => {
                    self.stream = Some(stream);
                    self.decoder = Decoder::default();
                    self.pause = FIRST_PAUSE;
                }
                Err(_) => self.pause = (self.pause * 3 / 2).min(LONGEST_PAUSE),
            }
            return None;
        };
        let outcome = stream.set_read_timeout(Some(patience));
        match outcome {
            Ok(()) => self.read(),
            Err(_) => self.stream = None,
        }
        self.ready.pop_front()
    }

    /// The next message, unless `other` can be read before it comes. Nothing is waited for but these two and time.
    pub(crate) fn hear(&mut self, other: BorrowedFd<'_>, patience: Duration) -> Heard {
        if let Some(message) = self.ready.pop_front() {
            return Heard::Message(message);
        }
        let patience = match &self.stream {
            Some(_) => patience,
            None => self.pause.min(patience),
        };
        let timeout = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(patience.subsec_nanos()),
        };
        let mut polls = vec![PollFd::from_borrowed_fd(other, PollFlags::IN)];
        polls.extend(
            self.stream
                .iter()
                .map(|stream| PollFd::new(stream, PollFlags::IN)),
        );
        if poll(&mut polls, Some(&timeout)).is_err() {
            // Interrupted; whoever calls comes back.
            return Heard::Nothing;
        }
        let fired = |at: usize| polls.get(at).is_some_and(|poll| !poll.revents().is_empty());
        if fired(0) {
            return Heard::Other;
        }
        let readable = fired(1);
        drop(polls);
        match &self.stream {
            None => {
                let _ = self.next(Duration::ZERO);
                if self.stream.is_some() {
                    Heard::Nothing
                } else {
                    Heard::Lost
                }
            }
            Some(_) if readable => {
                self.read();
                match (self.ready.pop_front(), &self.stream) {
                    (Some(message), _) => Heard::Message(message),
                    (None, None) => Heard::Lost,
                    (None, Some(_)) => Heard::Nothing,
                }
            }
            Some(_) => Heard::Nothing,
        }
    }

    /// Reads once, and takes what is whole.
    fn read(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let mut buffer = [0; 64 * 1024];
        match stream.read(&mut buffer) {
            Ok(0) => self.stream = None,
            Ok(n) => {
                self.decoder.push(&buffer[..n]);
                loop {
                    match self.decoder.next_frame() {
                        Ok(Some(frame)) => self.ready.extend(Message::parse(&frame)),
                        Ok(None) => break,
                        Err(_) => {
                            self.stream = None;
                            break;
                        }
                    }
                }
            }
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                ) => {}
            Err(_) => self.stream = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixListener;
    use std::time::Instant;

    fn wait(bus: &mut Bus) -> Message {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Some(message) = bus.next(Duration::from_millis(50)) {
                return message;
            }
        }
        panic!("no message");
    }

    #[test]
    fn it_comes_back_after_the_daemon_did() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pub.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let mut bus = Bus::connect(&path).unwrap();
        let frame = |text: &str| pm2::bus::log_pm2(1, text).unwrap();
        {
            let (mut peer, _) = listener.accept().unwrap();
            let both = [frame("a"), frame("b")].concat();
            peer.write_all(&both).unwrap();
            assert_eq!(wait(&mut bus).data["data"], "a");
            assert_eq!(wait(&mut bus).data["data"], "b");
            // It dies in the middle of a frame.
            peer.write_all(&frame("lost")[..10]).unwrap();
        }
        drop(listener);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(bus.next(Duration::from_millis(50)), None);
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            peer.write_all(&pm2::bus::log_pm2(1, "again").unwrap()).unwrap();
            let _ = peer.read(&mut [0; 1]);
        });
        assert_eq!(wait(&mut bus).data["data"], "again");
    }
}
