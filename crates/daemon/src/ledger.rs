//! Who runs, on disk, for the one case that the keeper's memory does not cover: that keeper and daemon end together.
//!
//! Each entry has a file of states, the latest last: a head of one line, and in the next line its record (see [`crate::record`]). The head
//! names the lives by what no other process ever has: run of the machine, pid, and time of start. A new daemon takes back what still lives; the pipes are
//! opened anew through the process's own ends, so that its output is read on. Its IPC channel is gone.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use keeper::protocol::{ChildFds, ChildInfo, LentFds, Request};
use os::proc::Sampler;
use serde::{Deserialize, Serialize};
use supervisor::{Incarnation, ProcId};

use crate::app::Life;
use crate::journal::Level;
use crate::launching::marks_of;
use crate::owner::Daemon;
use crate::record::{self, Kept};

/// Longest file that is read back, bytes: a record and its head.
const MAX_FILE: u64 = record::MAX_RECORD as u64 + 64 * 1024;

/// The first line of a state.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Head {
    v: u32,
    boot: String,
    lives: Vec<LifeText>,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct LifeText {
    key: u64,
    pid: u32,
    start_ticks: u64,
    spawned_at_ms: u64,
    /// Numbers of the pipes at its descriptors 0, 1 and 2; 0 for one that is closed.
    pipes: [u64; 3],
}

impl LifeText {
    fn of(key: Incarnation, life: &Life) -> Self {
        let number = |fd: &Option<OwnedFd>| fd.as_ref().and_then(os::proc::pipe_number).unwrap_or(0);
        Self {
            key: key.0,
            pid: life.pid,
            start_ticks: life.start_ticks,
            spawned_at_ms: life.spawned_at_ms,
            pipes: [
                number(&life.held.stdin),
                number(&life.held.stdout),
                number(&life.held.stderr),
            ],
        }
    }

    /// The process, if it still runs.
    fn take_back(&self, sampler: &mut Sampler) -> Option<ChildInfo> {
        // First the descriptor, then the look: so it stands for the process that was looked at.
        let pidfd = os::process::open(self.pid).ok()?;
        let sample = sampler.sample(self.pid)?;
        if self.start_ticks == 0 || sample.start_ticks != self.start_ticks || sample.state == b'Z' {
            return None;
        }
        let pipe = |descriptor: u32, number: u64| {
            os::proc::open_pipe_of(self.pid, descriptor, number, descriptor == 0)
        };
        Some(ChildInfo {
            key: self.key,
            pid: self.pid,
            start_ticks: self.start_ticks,
            spawned_at_ms: self.spawned_at_ms,
            adopted: true,
            exited: None,
            fds: ChildFds {
                stdin: pipe(0, self.pipes[0]),
                stdout: pipe(1, self.pipes[1]),
                stderr: pipe(2, self.pipes[2]),
                ipc: None,
                pidfd: Some(pidfd),
            },
        })
    }
}

fn write(boot: &str, lives: Vec<LifeText>, record: &[u8]) -> Vec<u8> {
    let head = Head {
        v: 1,
        boot: boot.to_owned(),
        lives,
    };
    // Numbers and text always have a JSON form.
    let head = serde_json::to_vec(&head).unwrap_or_default();
    [&head, &b"\n"[..], record, b"\n"].concat()
}

/// The last state that is whole. `None`: it is of another run of the machine, so nothing of it lives.
fn read(boot: &str, bytes: &[u8]) -> Result<Option<(Vec<LifeText>, Kept)>, String> {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let mut states = lines.chunks_exact(2).rev().map(|state| match state {
        [head, record] => read_state(boot, head, record),
        _ => Err("half a state".into()),
    });
    let last = states.next().unwrap_or_else(|| Err("it has no state".into()));
    // A death in the middle of a state leaves the one before it.
    last.or_else(|error| states.find_map(Result::ok).ok_or(error))
}

fn read_state(boot: &str, head: &[u8], text: &[u8]) -> Result<Option<(Vec<LifeText>, Kept)>, String> {
    let head: Head = serde_json::from_slice(head).map_err(|error| error.to_string())?;
    if head.v != 1 {
        return Err(format!("its version is {}, this release knows 1", head.v));
    }
    if head.boot != boot {
        return Ok(None);
    }
    let kept = record::read(text).map_err(|error| error.to_string())?;
    Ok(Some((head.lives, kept)))
}

/// The files of a home, and the run of the machine in which they are written.
#[derive(Debug)]
pub(crate) struct Ledger {
    dir: PathBuf,
    /// Empty where the machine does not tell: then nothing is written, and nothing taken back.
    boot: String,
}

/// What a new daemon takes back.
#[derive(Debug, Default)]
pub(crate) struct TakenBack {
    pub(crate) children: Vec<ChildInfo>,
    pub(crate) records: BTreeMap<ProcId, Kept>,
    /// What could not be read.
    pub(crate) troubles: Vec<String>,
}

impl Ledger {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            boot: os::proc::boot_id().unwrap_or_default(),
        }
    }

    fn path(&self, id: ProcId) -> PathBuf {
        self.dir.join(id.0.to_string())
    }

    /// Entries of which something lives and that the keeper does not know. Where the keeper knows nothing at all, and something
    /// lives, the others come along: they were stopped, or have ended meanwhile.
    pub(crate) fn take_back(&self, known: impl Fn(ProcId) -> bool, sampler: &mut Sampler) -> TakenBack {
        let mut taken = TakenBack::default();
        let Ok(files) = std::fs::read_dir(&self.dir) else {
            return taken;
        };
        let mut without_life = Vec::new();
        let mut keeper_knows = false;
        for file in files.flatten() {
            let name = file.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse().ok()).map(ProcId) else {
                continue;
            };
            if known(id) {
                keeper_knows = true;
                continue;
            }
            match read_file(&file.path()).map_err(|error| error.to_string()) {
                Ok(bytes) => match read(&self.boot, &bytes) {
                    Ok(Some((lives, kept))) => {
                        let living: Vec<_> =
                            lives.iter().filter_map(|life| life.take_back(sampler)).collect();
                        if living.is_empty() {
                            without_life.push((id, kept));
                        } else {
                            taken.children.extend(living);
                            taken.records.insert(id, kept);
                        }
                    }
                    Ok(None) => {}
                    Err(error) => taken.troubles.push(format!("{}: {error}", file.path().display())),
                },
                Err(error) => taken.troubles.push(format!("{}: {error}", file.path().display())),
            }
        }
        // One may live of which nobody was told any more.
        let lives = !taken.records.is_empty() || without_life.iter().any(|(_, kept)| has_stray(kept));
        if !keeper_knows && lives {
            taken.records.extend(without_life);
        }
        taken
    }
}

/// Whether the keeper has started a process for this entry in the moment of its death.
fn has_stray(kept: &Kept) -> bool {
    let marks = kept.is_unborn().then(|| marks_of(&kept.env)).flatten();
    marks.is_some_and(|marks| !os::proc::started_with(&marks).is_empty())
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {MAX_FILE} bytes"),
        ));
    }
    Ok(bytes)
}

impl Daemon {
    /// Write an entry down, off the loop.
    pub(crate) fn note_in_ledger(&self, id: ProcId, record: &[u8]) {
        if self.ledger.boot.is_empty() {
            return;
        }
        let Some(app) = self.apps.get(&id) else { return };
        let lives = app
            .lives
            .iter()
            .filter_map(|key| Some((key, self.lives.get(key)?)));
        let lives = lives
            .filter(|(_, life)| !life.exited)
            .map(|(key, life)| LifeText::of(*key, life))
            .collect();
        let bytes = write(&self.ledger.boot, lives, record);
        self.disk.note(self.ledger.path(id), bytes, 0o600);
    }

    /// An entry is no more.
    pub(crate) fn strike_from_ledger(&self, id: ProcId) {
        self.disk.remove(self.ledger.path(id));
    }

    /// Take back what lives on though keeper and daemon have both ended, and have the keeper look after it. What the ledger has
    /// of others is of the past.
    pub(crate) fn consult_ledger(&mut self, known: impl Fn(ProcId) -> bool) -> TakenBack {
        let taken = self.ledger.take_back(&known, &mut self.sampler);
        for child in &taken.children {
            let fds = LentFds {
                stdin: child.fds.stdin.as_ref().map(AsFd::as_fd),
                stdout: child.fds.stdout.as_ref().map(AsFd::as_fd),
                stderr: child.fds.stderr.as_ref().map(AsFd::as_fd),
                ipc: None,
                pidfd: child.fds.pidfd.as_ref().map(AsFd::as_fd),
            };
            let adopted = self.keeper.send(&Request::Adopt {
                key: child.key,
                pid: child.pid,
                spawned_at_ms: child.spawned_at_ms,
                fds,
            });
            if let Err(error) = adopted {
                self.complain(&format!("having process {} looked after: {error}", child.pid));
            }
        }
        for trouble in &taken.troubles {
            self.complain(&format!("reading what ran before: {trouble}"));
        }
        if !taken.children.is_empty() {
            self.say(
                Level::Log,
                &format!(
                    "{} processes lived on without a daemon and a keeper: they are managed again, without their IPC channels until \
                     they are restarted",
                    taken.children.len()
                ),
            );
        }
        for file in std::fs::read_dir(&self.ledger.dir)
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = file.file_name();
            let id = name.to_str().and_then(|name| name.parse().ok()).map(ProcId);
            if !id.is_some_and(|id| known(id) || taken.records.contains_key(&id)) {
                self.disk.remove(file.path());
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &[u8] =
        br#"{"v":1,"phase":{"state":"online","life":3,"pid":4},"lives":[3],"env":{"name":"a"}}"#;

    fn this_process() -> LifeText {
        let pid = std::process::id();
        let sample = Sampler::new().unwrap().sample(pid).unwrap();
        LifeText {
            key: 3,
            pid,
            start_ticks: sample.start_ticks,
            spawned_at_ms: 7,
            pipes: [0; 3],
        }
    }

    #[test]
    fn what_is_written_is_read_in_the_same_run_of_the_machine_only() {
        let life = this_process();
        let bytes = write("boot", vec![life.clone()], RECORD);
        let (lives, kept) = read("boot", &bytes).unwrap().unwrap();
        assert_eq!((lives, kept.env.name()), (vec![life], "a"));
        assert!(read("another", &bytes).unwrap().is_none());
        for damaged in [
            &b""[..],
            b"{",
            b"\n\n",
            &bytes[..bytes.len() - 2],
            b"{\"v\":2,\"boot\":\"boot\",\"lives\":[]}\n",
        ] {
            assert!(read("boot", damaged).is_err());
        }
        // The first release wrote one state, and nothing behind it.
        assert!(read("boot", &bytes[..bytes.len() - 1]).unwrap().is_some());
    }

    #[test]
    fn the_last_whole_state_counts() {
        let record = |name: &str| String::from_utf8_lossy(RECORD).replace(r#""a""#, &format!("{name:?}"));
        let states = ["a", "b"].map(|name| write("boot", vec![this_process()], record(name).as_bytes()));
        let bytes = states.concat();
        let name = |bytes: &[u8]| read("boot", bytes).unwrap().unwrap().1.env.name().to_owned();
        assert_eq!(name(&bytes), "b");
        for whole in states[0].len()..bytes.len() - 1 {
            assert_eq!(name(&bytes[..whole]), "a", "{whole}");
        }
    }

    #[test]
    fn only_the_very_process_is_taken_back() {
        let mut sampler = Sampler::new().unwrap();
        let life = this_process();
        assert_eq!(life.take_back(&mut sampler).unwrap().pid, life.pid);
        let another = LifeText {
            start_ticks: life.start_ticks + 1,
            ..life
        };
        assert!(another.take_back(&mut sampler).is_none());
    }

    #[test]
    fn entries_without_a_life_come_along_only_if_something_lives() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger {
            dir: dir.path().to_owned(),
            boot: "boot".into(),
        };
        let mut sampler = Sampler::new().unwrap();
        std::fs::write(ledger.path(ProcId(1)), write("boot", Vec::new(), RECORD)).unwrap();
        std::fs::write(ledger.path(ProcId(2)), "torn").unwrap();
        let taken = ledger.take_back(|_| false, &mut sampler);
        assert_eq!((taken.records.len(), taken.troubles.len()), (0, 1));
        std::fs::write(
            ledger.path(ProcId(3)),
            write("boot", vec![this_process()], RECORD),
        )
        .unwrap();
        let taken = ledger.take_back(|_| false, &mut sampler);
        assert_eq!(taken.records.keys().map(|id| id.0).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(taken.children.len(), 1);
        // What the keeper knows is the keeper's, and then the rest is of the past.
        let taken = ledger.take_back(|id| id == ProcId(3), &mut sampler);
        assert!(taken.records.is_empty() && taken.children.is_empty());
    }

    #[test]
    fn what_was_started_in_the_last_moment_is_a_life_too() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger {
            dir: dir.path().to_owned(),
            boot: "boot".into(),
        };
        let unique = format!("test-{}", std::process::id());
        let record = format!(
            r#"{{"v":1,"phase":{{"state":"launching","life":3,"pid":null}},"lives":[3],
                 "env":{{"name":"a","pm_id":7,"unique_id":"{unique}","pm_uptime":1234}}}}"#
        )
        .replace('\n', "");
        std::fs::write(
            ledger.path(ProcId(7)),
            write("boot", Vec::new(), record.as_bytes()),
        )
        .unwrap();
        std::fs::write(ledger.path(ProcId(8)), write("boot", Vec::new(), RECORD)).unwrap();
        let taken = || {
            let taken = ledger.take_back(|_| false, &mut Sampler::new().unwrap());
            assert!(taken.troubles.is_empty() && taken.children.is_empty());
            taken.records.keys().map(|id| id.0).collect::<Vec<_>>()
        };
        assert!(taken().is_empty());
        let mut stray = std::process::Command::new("sleep")
            .arg("60")
            .envs([("pm_id", "7"), ("unique_id", &unique), ("pm_uptime", "1234")])
            .spawn()
            .unwrap();
        // `spawn` returns as soon as the child has its new memory, a moment before its environment can be read there.
        let environ = format!("/proc/{}/environ", stray.id());
        while std::fs::read(&environ).unwrap().is_empty() {
            std::thread::yield_now();
        }
        let found = taken();
        stray.kill().unwrap();
        stray.wait().unwrap();
        assert_eq!(found, [7, 8]);
    }
}
