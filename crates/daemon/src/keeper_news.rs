//! What the keeper says, and signals to lives.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use keeper::protocol::{Event as Told, ExitReport, RequestKind};
use supervisor::{Exit, Incarnation, Input, ProcId};

use crate::event::Event;
use crate::owner::Daemon;
use crate::tree;

impl Daemon {
    /// The keeper said something.
    pub(crate) fn on_keeper(&mut self, event: Told) {
        match event {
            Told::Spawned(child) => self.on_spawned(child),
            Told::SpawnFailed { key, step, errno } => self.on_spawn_failed(key, step, errno),
            Told::Exited { key, report, .. } => self.on_exited(Incarnation(key), &report),
            Told::Refused {
                request,
                key,
                name,
                errno,
            } => {
                let reason = io::Error::from_raw_os_error(errno);
                if request == RequestKind::Exec {
                    self.keeper_was_not_replaced(errno);
                }
                self.complain(&format!("the keeper refused {request:?} {key} {name}: {reason}"));
                if request == RequestKind::Spawn {
                    self.start_refused(Incarnation(key), errno);
                }
            }
            Told::Welcome { .. } => self.keeper_was_replaced(),
            // Only after a connect; then all of it is in the store already.
            Told::Ready | Told::Child(_) | Told::Stored { .. } => {}
        }
    }

    /// A life has ended. What it wrote may still be in its pipes.
    pub(crate) fn on_exited(&mut self, incarnation: Incarnation, report: &ExitReport) {
        let Some(life) = self.lives.get_mut(&incarnation) else {
            // Never connected here: nothing holds it back.
            let _ = self
                .keeper
                .send(&keeper::protocol::Request::Forget { key: incarnation.0 });
            return;
        };
        life.exited = true;
        life.stdin = None;
        life.held.stdin = None;
        let id = life.id;
        let exit = match report.exit {
            os::wait::Exit::Code(code) => Exit::Code(code),
            os::wait::Exit::Signal(signal) => Exit::Signal(signal),
            os::wait::Exit::Unknown => Exit::Unknown,
        };
        // Its last words on the channel come before its end.
        self.read_channel(incarnation);
        self.note_exit(incarnation, report);
        self.handle(Input::Exited {
            id,
            incarnation,
            exit,
        });
        self.settle();
        self.forget_if_over(incarnation);
    }

    /// Carry out [`supervisor::Effect::Signal`]; `round` if the tree is meant too.
    pub(crate) fn signal_life(
        &mut self,
        id: ProcId,
        incarnation: Incarnation,
        pid: u32,
        signal: i32,
        round: Option<u32>,
    ) {
        let known = self
            .lives
            .get_mut(&incarnation)
            .map(|life| std::mem::take(&mut life.tree))
            .unwrap_or_default();
        if let Some(round) = round {
            let life = self.lives.get(&incarnation).filter(|life| !life.exited);
            let root = life.and_then(|life| Some((pid, life.held.pidfd.as_ref()?.as_fd())));
            let alive = tree::signal_descendants(&mut self.sampler, root, known, signal);
            let watched = alive
                .iter()
                .map(os::fd::duplicate)
                .collect::<io::Result<Vec<_>>>();
            if let Some(life) = self.lives.get_mut(&incarnation) {
                life.tree = alive;
            }
            if watched.as_ref().is_ok_and(Vec::is_empty) {
                self.handle(Input::TreeGone {
                    id,
                    incarnation,
                    round,
                });
            } else {
                self.watch_tree(watched, id, incarnation, round);
            }
        }
        let Some(life) = self.lives.get(&incarnation) else {
            return;
        };
        let sent = match &life.held.pidfd {
            Some(_) if life.exited => Ok(()),
            Some(pidfd) => os::process::signal(pidfd, signal),
            None => os::process::kill(pid, signal),
        };
        // One that has just ended is what was wanted.
        if let Err(error) = sent
            && error.raw_os_error() != Some(rustix::io::Errno::SRCH.raw_os_error())
        {
            let label = self.label(incarnation);
            self.complain(&format!(
                "App [{label}]: sending signal {signal} to {pid}: {error}"
            ));
        }
    }

    fn watch_tree(
        &self,
        watched: io::Result<Vec<OwnedFd>>,
        id: ProcId,
        incarnation: Incarnation,
        round: u32,
    ) {
        let events = self.events.clone();
        tokio::spawn(async move {
            if let Ok(watched) = watched {
                // What can't be watched counts as gone: the process itself decides then.
                let _ = tree::wait_for_all(watched).await;
            }
            let _ = events
                .send(Event::TreeGone {
                    id,
                    incarnation,
                    round,
                })
                .await;
        });
    }
}
