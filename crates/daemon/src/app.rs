//! What the daemon holds of a process besides the supervisor's state: its entry, its usage, the handles of its lives.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use keeper::protocol::ChildFds;
use os::proc::Sample;
use pm2::env::{Monit, Pm2Env};
use serde::Serialize;
use supervisor::{Incarnation, Mono, ProcId};

use crate::child_channel::ChildChannel;
use crate::crashes::{Draft, Ends};
use crate::recent::{Look, Recent};
use crate::stdin::StdinHandle;

/// Samples closer together than this say nothing: the kernel counts in ticks of 10 ms.
const SHORTEST_INTERVAL_MS: u64 = 100;

/// One entry of the list.
#[derive(Debug)]
pub(crate) struct App {
    /// Everything that is shown of it. Status and counters are brought up to date with each change.
    pub(crate) env: Pm2Env,
    /// A reload is in progress: the entry as it was, in case the new life does not come up.
    pub(crate) former_env: Option<Pm2Env>,
    /// What it takes.
    pub(crate) usage: Usage,
    /// What became of its last reload, if that failed.
    pub(crate) reload_trouble: Option<String>,
    /// Why its last life could not begin, if it could not.
    pub(crate) start_trouble: Option<Box<str>>,
    /// What was wrong when its health was looked at last.
    pub(crate) ailment: Option<String>,
    /// Why its limits do not hold, or not all of them.
    pub(crate) limits_trouble: Option<String>,
    /// Its ends that nobody asked for.
    pub(crate) ends: Ends,
    /// Its lives among the daemon's.
    pub(crate) lives: Vec<Incarnation>,
}

/// Memory and CPU, measured between two looks by anyone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    last: Option<(Sample, Mono)>,
    /// When it was looked at last.
    looked: Option<Mono>,
    monit: Monit,
    recent: Recent,
}

impl Usage {
    /// Take in a new sample; `None` if the process is gone.
    pub(crate) fn update(&mut self, now: Mono, sample: Option<Sample>) -> Monit {
        let Some(sample) = sample else {
            *self = Self::default();
            return self.monit;
        };
        self.monit.memory = sample.rss_bytes;
        self.looked = Some(now);
        match self.last {
            Some((before, at)) if before.pid == sample.pid && before.start_ticks == sample.start_ticks => {
                let elapsed_ms = now.0.saturating_sub(at.0);
                if elapsed_ms >= SHORTEST_INTERVAL_MS {
                    self.monit.cpu = os::proc::cpu_percent(&before, &sample, elapsed_ms);
                    self.last = Some((sample, now));
                }
            }
            _ => {
                self.monit.cpu = 0.0;
                self.last = Some((sample, now));
            }
        }
        // One that has just ended has no memory any more, which says nothing of its life.
        if sample.state != b'Z' {
            let look = Look {
                at: now,
                cpu: self.monit.cpu,
                memory: self.monit.memory,
            };
            self.recent
                .take(look, os::proc::started_ms(&sample).map_or(now, Mono));
        }
        self.monit
    }

    /// Whether this process was looked at so short a time ago that another look would say nothing new.
    pub(crate) fn is_fresh(&self, now: Mono, pid: u32) -> bool {
        self.looked.is_some_and(|at| now.0 < at.0 + SHORTEST_INTERVAL_MS)
            && self.last.is_some_and(|(sample, _)| sample.pid == pid)
    }

    /// The last minute.
    pub(crate) fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Another life begins.
    pub(crate) fn forget_recent(&mut self) {
        self.recent.clear();
    }

    /// The last result.
    pub(crate) fn monit(&self) -> Monit {
        self.monit
    }
}

/// One life of a process, from its spawn until nothing more can come from it.
#[derive(Debug)]
pub(crate) struct Life {
    /// Whose.
    pub(crate) id: ProcId,
    /// Its pid.
    pub(crate) pid: u32,
    /// When the kernel started it, in ticks; 0 if it was gone too soon to look.
    pub(crate) start_ticks: u64,
    /// The way to its standard input, once a line was sent there.
    pub(crate) stdin: Option<StdinHandle>,
    /// The cgroup that holds its limits.
    pub(crate) cgroup: Option<PathBuf>,
    /// Its IPC channel.
    pub(crate) channel: Option<ChildChannel>,
    /// Descendants that were signalled in this life and may still run.
    pub(crate) tree: Vec<OwnedFd>,
    /// It has ended; what it wrote may still be on its way.
    pub(crate) exited: bool,
    /// Output streams that have not ended.
    pub(crate) open_streams: u8,
    /// Complaints about its messages so far; only the first is told.
    pub(crate) complaints: u64,
    /// When it began, ms since the epoch.
    pub(crate) spawned_at_ms: u64,
    /// It crashed; its last words are waited for.
    pub(crate) crash: Option<Box<Draft>>,
    /// Our ends of everything, as the keeper holds them too: enough to hand over to another keeper.
    pub(crate) held: ChildFds,
}

/// How processes are answered: PM2's `{pid, name, pm2_env, pm_id, monit?}`, and `process.pid`, which clients of start and restart read.
#[derive(Debug, Serialize)]
pub(crate) struct Shown<'a> {
    #[serde(flatten)]
    element: pm2::env::ListElement<'a>,
    process: ShownPid,
}

#[derive(Debug, Serialize)]
struct ShownPid {
    pid: u32,
}

impl App {
    /// A new entry.
    pub(crate) fn new(env: Pm2Env) -> Self {
        Self {
            env,
            former_env: None,
            reload_trouble: None,
            start_trouble: None,
            usage: Usage::default(),
            ailment: None,
            limits_trouble: None,
            ends: Ends::new(),
            lives: Vec::new(),
        }
    }

    /// How the process is answered by all methods but getMonitorData.
    pub(crate) fn shown(&self, pid: u32) -> Shown<'_> {
        Shown {
            element: self.env.list_element(pid, None),
            process: ShownPid { pid },
        }
    }
}

impl Life {
    /// Send a line to its standard input. `None`: it has none any more; `false`: it does not read.
    pub(crate) fn send_line(&mut self, line: String) -> Option<io::Result<bool>> {
        let held = self.held.stdin.as_ref()?;
        let stdin = match &mut self.stdin {
            Some(stdin) => stdin,
            none => match StdinHandle::open(held) {
                Ok(stdin) => none.insert(stdin),
                Err(error) => return Some(Err(error)),
            },
        };
        Some(Ok(stdin.send(line)))
    }
}

/// The key under which the keeper knows a life.
pub(crate) fn key_of(incarnation: Incarnation) -> u64 {
    incarnation.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_holds_for_a_moment_and_for_its_process() {
        let sample = |pid| Sample {
            pid,
            ppid: 1,
            pgid: pid,
            sid: pid,
            state: b'S',
            cpu_ticks: 0,
            start_ticks: 1,
            threads: 1,
            rss_bytes: 4096,
            virtual_bytes: 8192,
        };
        let mut usage = Usage::default();
        assert!(!usage.is_fresh(Mono(0), 7));
        usage.update(Mono(1000), Some(sample(7)));
        let fresh =
            [(1000, 7), (1099, 7), (1100, 7), (1000, 8)].map(|(at, pid)| usage.is_fresh(Mono(at), pid));
        assert_eq!(fresh, [true, true, false, false]);
        // A look that is too early for its share of the CPU counts for its memory.
        usage.update(Mono(1050), Some(sample(7)));
        assert!(usage.is_fresh(Mono(1149), 7));
        usage.update(Mono(1100), None);
        assert!(!usage.is_fresh(Mono(1100), 7));
    }
}
