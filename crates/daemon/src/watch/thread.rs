//! The thread that looks after the files, so that no slow disk holds up the owner loop. It starts with the first app that is watched.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use os::notify::Notifier;
use pm2::env::WatchedFiles;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};

use super::WatchId;
use super::poll::Poll;
use super::rules::{OwnFiles, Rules};
use super::tree::{News, Tree, raised};
use crate::clock;
use crate::event::Event;

/// The way to the thread. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Watcher {
    // Unbounded by type, bounded by use: a few commands for each process.
    commands: Sender<Command>,
    wake: Arc<OwnedFd>,
}

#[derive(Debug)]
enum Command {
    Watch {
        id: WatchId,
        files: WatchedFiles,
        own: OwnFiles,
        since_ms: i64,
    },
    Forget(WatchId),
}

impl Watcher {
    /// Starts the thread, which sends what it finds to the owner loop.
    pub(crate) fn start(events: tokio::sync::mpsc::Sender<Event>) -> io::Result<Self> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (commands, inbox) = channel();
        let mut worker = Worker {
            inbox,
            wake: Arc::clone(&wake),
            events,
            notifier: None,
            tree: Tree::default(),
            polls: BTreeMap::new(),
        };
        std::thread::Builder::new()
            .name("watch".into())
            .stack_size(256 * 1024)
            .spawn(move || worker.run())?;
        Ok(Self { commands, wake })
    }

    /// Watch these files; what was changed since that time counts as a change.
    pub(crate) fn watch(&self, id: WatchId, files: WatchedFiles, own: OwnFiles, since_ms: i64) {
        self.send(Command::Watch {
            id,
            files,
            own,
            since_ms,
        });
    }

    /// Let go of a watch.
    pub(crate) fn forget(&self, id: WatchId) {
        self.send(Command::Forget(id));
    }

    fn send(&self, command: Command) {
        // Both fail only after the thread has ended.
        let _ = self.commands.send(command);
        self.wake();
    }

    fn wake(&self) {
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The channel is closed by then: a sender of nothing takes the place of the real one.
        self.commands = channel().0;
        self.wake();
    }
}

/// The owner loop has gone.
struct Gone;

struct Worker {
    inbox: Receiver<Command>,
    wake: Arc<OwnedFd>,
    events: tokio::sync::mpsc::Sender<Event>,
    notifier: Option<Notifier>,
    tree: Tree,
    polls: BTreeMap<WatchId, Round>,
}

/// A watch that is looked at from time to time.
struct Round {
    poll: Poll,
    every: Duration,
    next: Instant,
}

impl Worker {
    fn run(&mut self) {
        loop {
            if self.wait().is_err() {
                return;
            }
            let turn = self
                .take_commands()
                .and_then(|()| self.take_notices())
                .and_then(|()| self.look());
            if turn.is_err() {
                return;
            }
        }
    }

    fn wait(&self) -> io::Result<()> {
        let next = self.polls.values().map(|round| round.next).min();
        let timeout = next
            .map(|at| at.saturating_duration_since(Instant::now()))
            .map(|wait| {
                Timespec::try_from(wait).unwrap_or(Timespec {
                    tv_sec: 1,
                    tv_nsec: 0,
                })
            });
        let mut fds = vec![PollFd::new(&*self.wake, PollFlags::IN)];
        fds.extend(
            self.notifier
                .as_ref()
                .map(|notifier| PollFd::from_borrowed_fd(notifier.as_fd(), PollFlags::IN)),
        );
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut count = [0; 8];
        let _ = rustix::io::read(&*self.wake, &mut count);
        Ok(())
    }

    fn take_commands(&mut self) -> Result<(), Gone> {
        loop {
            match self.inbox.try_recv() {
                Ok(Command::Watch {
                    id,
                    files,
                    own,
                    since_ms,
                }) => self.begin(id, &files, own, since_ms)?,
                Ok(Command::Forget(id)) => {
                    self.polls.remove(&id);
                    if let Some(notifier) = &self.notifier {
                        self.tree.remove(notifier, id);
                    }
                }
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(Gone),
            }
        }
    }

    fn begin(&mut self, id: WatchId, files: &WatchedFiles, own: OwnFiles, since_ms: i64) -> Result<(), Gone> {
        let (rules, complaints) = Rules::new(files, own);
        for text in complaints {
            self.tell_trouble(id, text)?;
        }
        if let Some(every) = files.poll {
            let (poll, recent) = Poll::new(rules, files, since_ms);
            if poll.is_cut_short() {
                self.tell_trouble(
                    id,
                    "there are more files than can be polled; name fewer in watch".into(),
                )?;
            }
            let next = Instant::now() + every;
            self.polls.insert(id, Round { poll, every, next });
            return match recent {
                Some((path, at_ms)) => self.tell_change(id, path, at_ms),
                None => Ok(()),
            };
        }
        if self.notifier.is_none() {
            match Notifier::new() {
                Ok(notifier) => self.notifier = Some(notifier),
                Err(error) => return self.tell_trouble(id, no_notifier(&error)),
            }
        }
        if let Some(notifier) = &self.notifier {
            self.tree.add(notifier, id, rules, files, since_ms);
        }
        self.tell_news()
    }

    fn take_notices(&mut self) -> Result<(), Gone> {
        let Some(mut notifier) = self.notifier.take() else {
            return Ok(());
        };
        // What an event leads to (a new folder is watched) needs the notifier that it is read from: events are copied first.
        let mut notices = Vec::new();
        let read = notifier.read(|notice| {
            notices.push((notice.place, notice.kind, notice.name.map(ToOwned::to_owned)));
        });
        for (place, kind, name) in notices {
            let notice = os::notify::Notice {
                place,
                kind,
                name: name.as_deref(),
            };
            self.tree.on_notice(&notifier, &notice);
        }
        self.notifier = Some(notifier);
        read.map_err(|_| Gone)?;
        self.tell_news()
    }

    fn look(&mut self) -> Result<(), Gone> {
        let now = Instant::now();
        let mut changes = Vec::new();
        for (id, round) in self.polls.iter_mut().filter(|(_, round)| round.next <= now) {
            if let Some((path, at_ms)) = round.poll.again(clock::wall_ms()) {
                changes.push((*id, path, at_ms));
            }
            round.next = Instant::now() + round.every;
        }
        for (id, path, at_ms) in changes {
            self.tell_change(id, path, at_ms)?;
        }
        Ok(())
    }

    fn tell_news(&mut self) -> Result<(), Gone> {
        let News { changes, troubles } = self.tree.take_news();
        for (id, text) in troubles {
            self.tell_trouble(id, text)?;
        }
        for (id, (path, at_ms)) in changes {
            self.tell_change(id, path, at_ms)?;
        }
        Ok(())
    }

    fn tell_change(&self, id: WatchId, path: PathBuf, changed_at_ms: i64) -> Result<(), Gone> {
        self.tell(Event::FileChanged {
            watch: id,
            path,
            changed_at_ms,
        })
    }

    fn tell_trouble(&self, id: WatchId, text: String) -> Result<(), Gone> {
        self.tell(Event::WatchTrouble { watch: id, text })
    }

    /// Waits while the loop has too much to do; meanwhile the kernel keeps what happens, up to its own limit, and says if that was passed.
    fn tell(&self, event: Event) -> Result<(), Gone> {
        self.events.blocking_send(event).map_err(|_| Gone)
    }
}

fn no_notifier(error: &io::Error) -> String {
    if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) {
        return format!(
            "the limit of programs of this user that watch files is reached: raise it (sysctl fs.inotify.max_user_instances={}), \
             or set watch_options.usePolling",
            raised("max_user_instances")
        );
    }
    format!("watching files: {error}")
}
