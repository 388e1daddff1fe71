//! From the supervisor's wish to a running child: what to execute, with what, and what follows from the keeper's answer.

use std::ffi::OsString;
use std::os::fd::AsFd;

use keeper::client::ClientError;
use keeper::protocol::{ChildInfo, IpcPlace, Request, SpawnSpec};
use logs::Side;
use node::release::Takes;
use os::channel::Stash;
use os::spawn::{Identity, Program, Step};
use pm2::env::{ExecMode, Pm2Env};
use supervisor::{Incarnation, Input, Phase, ProcId};

use crate::app::{Life, key_of};
use crate::app_sockets::Given;
use crate::child_channel::ChildChannel;
use crate::child_news::stash_name;
use crate::clock;
use crate::cluster::{WorkerParts, group_of};
use crate::journal::Level;
use crate::owner::Daemon;

/// Descriptors that a life takes here: its pipes, channel and pidfd, as they are held and as they are used, and its log files.
const FDS_OF_A_LIFE: usize = 14;
/// Descriptors for everything else: clients, files, and what is held twice for a moment. Where few are to be had, a quarter of them.
const FDS_TO_SPARE: usize = 96;

/// What a process was started with, and no other of any home: its entry and the time of its launch, ms.
const MARKS: [&str; 3] = ["pm_id", "unique_id", "pm_uptime"];

/// Names of errors after which trying again makes sense: no memory, no pids, no descriptors, the program is being replaced.
const TRANSIENT: [rustix::io::Errno; 5] = [
    rustix::io::Errno::AGAIN,
    rustix::io::Errno::NOMEM,
    rustix::io::Errno::MFILE,
    rustix::io::Errno::NFILE,
    rustix::io::Errno::TXTBSY,
];

impl Daemon {
    /// Start a life: the record first, then the request, so that a new daemon never finds a child that it knows nothing of.
    pub(crate) fn spawn(&mut self, id: ProcId, incarnation: Incarnation) {
        let Some(app) = self.apps.get_mut(&id) else { return };
        if app.former_env.is_none() && self.sup.view(id).is_some_and(|view| view.former.is_some()) {
            app.former_env = Some(app.env.clone());
        }
        app.env.begin_launch(clock::wall_ms());
        // An app's own variable of that name must not change who it is.
        app.env.set("pm_id", id.0);
        self.refresh(id);
        self.share_with_neighbour(id);
        self.keep(id);
        let Some(app) = self.apps.get(&id) else { return };
        let label = format!("{}:{}", app.env.name(), id.0);
        self.look_up_versions(id, incarnation);
        self.look_up_versioning(id, incarnation);
        if let Err(reason) = self.room_for_a_life() {
            self.cannot_start(id, &reason);
            return self.handle(Input::SpawnFailed {
                id,
                incarnation,
                transient: true,
            });
        }
        let Some(app) = self.apps.get(&id) else { return };
        let mode = match app.env.exec_mode() {
            ExecMode::Cluster => "cluster",
            ExecMode::Fork => "fork",
        };
        let takes = self.node_versions.takes(&app.env);
        let mut parts = WorkerParts::of(&app.env, takes, &mut self.cluster, &self.preload);
        self.preload.add_monitor(&app.env, takes, &mut parts);
        self.preload.add_tracer(&app.env, takes, &mut parts);
        if app.env.is_node() && app.env.exec_mode() == ExecMode::Fork {
            parts
                .args
                .extend(self.settings.node_options.iter().map(OsString::from));
        }
        let given = self
            .app_sockets
            .give(&group_of(&app.env), &app.env, &mut self.keeper);
        let spec = given.and_then(|given| Ok((spec_of(&app.env, takes, parts, &given)?, given.fds)));
        let (mut spec, mut sockets) = match spec {
            Ok(spec) => spec,
            Err(reason) => {
                self.cannot_start(id, &reason);
                return self.handle(Input::SpawnFailed {
                    id,
                    incarnation,
                    transient: false,
                });
            }
        };
        if let Some(door) = self.cgroup_for(id, incarnation) {
            spec.in_cgroup = true;
            sockets.push(door);
        }
        self.say(Level::Log, &format!("App [{label}] starting in -{mode} mode-"));
        let request = Request::Spawn {
            key: key_of(incarnation),
            spec: &spec,
            extra: &sockets.iter().map(AsFd::as_fd).collect::<Vec<_>>(),
        };
        if let Err(error) = self.keeper.send(&request) {
            self.cannot_start(id, &error.to_string());
            // A request that is out of bounds will be so the next time, too.
            let transient = !matches!(error, ClientError::Request(_));
            self.handle(Input::SpawnFailed {
                id,
                incarnation,
                transient,
            });
        }
    }

    /// Whether the descriptors of one more life can be taken, and then still those that a daemon needs to answer, to write and, in
    /// place of this one, to begin. A daemon that took all that there are could only die, and its successors with it.
    fn room_for_a_life(&self) -> Result<(), String> {
        let limit = usize::try_from(os::process::descriptor_limit()).unwrap_or(usize::MAX);
        let spare = FDS_TO_SPARE.min(limit / 4);
        // Far from it in all but strange places, so what is cheap to know comes first.
        let at_most = self.lives.len() + self.apps.len() + 1;
        if at_most.saturating_mul(FDS_OF_A_LIFE) + 2 * FDS_TO_SPARE <= limit {
            return Ok(());
        }
        let asked_for = self
            .sup
            .ids()
            .filter_map(|id| self.sup.restorable(id))
            .filter(|kept| matches!(kept.phase, Phase::Launching(_, None)))
            .count();
        let open = os::proc::open_descriptors(std::process::id()).unwrap_or(0);
        if open + asked_for.saturating_mul(FDS_OF_A_LIFE) + spare <= limit {
            return Ok(());
        }
        Err(format!(
            "the daemon is at its limit of {limit} open files, and each process takes {FDS_OF_A_LIFE} of them: stop what is not needed, \
             or end the daemon and start it where `ulimit -n` is higher"
        ))
    }

    /// Processes have most of their fields in common. Now that an entry is complete, it holds them together with the one before.
    pub(crate) fn share_with_neighbour(&mut self, id: ProcId) {
        let mut upwards = self.apps.range_mut(..=id).rev();
        if let (Some((_, app)), Some((_, before))) = (upwards.next(), upwards.next()) {
            app.env.share(&before.env);
        }
    }

    /// Say why a life can't begin, and keep it for whoever asked for that.
    fn cannot_start(&mut self, id: ProcId, reason: &str) {
        let Some(app) = self.apps.get_mut(&id) else { return };
        app.start_trouble = Some(reason.into());
        let label = format!("{}:{}", app.env.name(), id.0);
        self.complain(&format!("App [{label}] can't be started: {reason}"));
    }

    /// The keeper did not even try.
    pub(crate) fn start_refused(&mut self, incarnation: Incarnation, errno: i32) {
        if let Some(id) = self.sup.owner_of(incarnation) {
            self.handle(Input::SpawnFailed {
                id,
                incarnation,
                transient: is_transient(errno),
            });
        }
    }

    /// A keeper died: what it was asked to start last may never have come to be. It is asked for anew.
    pub(crate) fn starts_lost(&mut self) {
        let pending: Vec<_> = self
            .sup
            .ids()
            .filter_map(|id| match self.sup.restorable(id)?.phase {
                Phase::Launching(life, None) | Phase::Stopping(life, None, _) => Some((id, life)),
                _ => None,
            })
            .collect();
        for (id, incarnation) in pending {
            self.end_strays(id);
            self.handle(Input::SpawnFailed {
                id,
                incarnation,
                transient: true,
            });
        }
    }

    /// End what a keeper may have started for this entry in the moment of its death: nobody has its pid, its pipes are gone, and another
    /// one is about to take its place. It is known by what it alone was started with.
    pub(crate) fn end_strays(&mut self, id: ProcId) {
        let Some(app) = self.apps.get(&id) else { return };
        let Some(marks) = marks_of(&app.env) else {
            return;
        };
        for pid in os::proc::started_with(&marks) {
            if self.lives.values().any(|life| life.pid == pid) {
                continue;
            }
            let ended =
                os::process::open(pid).and_then(|pidfd| os::process::signal(pidfd, os::signal::SIGKILL));
            if ended.is_ok() {
                self.complain(&format!(
                    "process {pid} was started in the moment in which the keeper died, and nobody can manage it: ended"
                ));
            }
        }
    }

    /// The keeper started it.
    pub(crate) fn on_spawned(&mut self, child: ChildInfo) {
        let incarnation = Incarnation(child.key);
        let (pid, channel) = (child.pid, child.fds.ipc.is_some());
        let Some(id) = self.sup.owner_of(incarnation) else {
            self.complain(&format!("process {pid} was started, but nobody knows what for"));
            return;
        };
        self.begin_life(id, child, None);
        if let Some(path) = self.apps.get(&id).and_then(|app| app.env.pid_path()) {
            self.disk.write(path, pid.to_string(), 0o644);
        }
        self.handle(Input::Spawned {
            id,
            incarnation,
            pid,
            channel,
        });
    }

    /// The keeper could not start it.
    pub(crate) fn on_spawn_failed(&mut self, key: u64, step: Step, errno: i32) {
        let incarnation = Incarnation(key);
        let Some(id) = self.sup.owner_of(incarnation) else {
            return;
        };
        let reason = self
            .apps
            .get(&id)
            .map_or_else(String::new, |app| why_not_started(&app.env, step, errno));
        self.cannot_start(id, &reason);
        self.handle(Input::SpawnFailed {
            id,
            incarnation,
            transient: is_transient(errno),
        });
    }

    /// Connect everything that belongs to a life, new or taken over.
    pub(crate) fn begin_life(&mut self, id: ProcId, child: ChildInfo, stash: Option<Stash>) {
        let incarnation = Incarnation(child.key);
        let mut troubles = Vec::new();
        let mut open_streams = 0;
        let rotation = self.rotation_of(id);
        if let Some(app) = self.apps.get(&id) {
            for (side, pipe) in [(Side::Out, &child.fds.stdout), (Side::Err, &child.fds.stderr)] {
                let Some(pipe) = pipe else { continue };
                match os::fd::duplicate(pipe) {
                    Ok(pipe) => {
                        self.pump
                            .attach(incarnation, side, pipe, &app.env, id, rotation.clone());
                        open_streams += 1;
                    }
                    Err(error) => troubles.push(format!("its output: {error}")),
                }
            }
        }
        let channel = child.fds.ipc.as_ref().and_then(|socket| {
            let opened = os::fd::duplicate(socket)
                .and_then(|socket| ChildChannel::open(socket, stash, incarnation, self.events.clone()));
            opened
                .map_err(|error| troubles.push(format!("its IPC channel: {error}")))
                .ok()
        });
        let life = Life {
            id,
            pid: child.pid,
            start_ticks: child.start_ticks,
            stdin: None,
            cgroup: self.cgroup_of_life(id, incarnation),
            channel,
            tree: Vec::new(),
            exited: false,
            open_streams,
            complaints: 0,
            spawned_at_ms: child.spawned_at_ms,
            crash: None,
            held: child.fds,
        };
        self.lives.insert(incarnation, life);
        if let Some(app) = self.apps.get_mut(&id) {
            app.lives.push(incarnation);
            app.start_trouble = None;
        }
        self.look_soon();
        self.enter_worker(id, incarnation);
        for trouble in troubles {
            self.complain(&format!("App [{}]: taking {trouble}", self.label(incarnation)));
        }
    }

    /// Once a life has ended and nothing more can come from it, the keeper may let go of it.
    pub(crate) fn forget_if_over(&mut self, incarnation: Incarnation) {
        let over = self
            .lives
            .get(&incarnation)
            .is_some_and(|life| life.exited && life.open_streams == 0 && life.channel.is_none());
        if over {
            self.write_crash(incarnation);
            if let Some(life) = self.lives.remove(&incarnation) {
                if let Some(app) = self.apps.get_mut(&life.id) {
                    app.lives.retain(|own| *own != incarnation);
                }
                if let Some(cgroup) = life.cgroup {
                    self.cgroups.remove(cgroup);
                }
            }
            let forgotten = self
                .keeper
                .send(&Request::Forget {
                    key: key_of(incarnation),
                })
                .and_then(|()| {
                    self.keeper.send(&Request::Remove {
                        name: &stash_name(incarnation),
                    })
                });
            if let Err(error) = forgotten {
                self.complain(&format!("telling the keeper of an exit: {error}"));
            }
        }
    }
}

/// The variables that a process of this launch of the entry, and no other, was started with.
pub(crate) fn marks_of(env: &Pm2Env) -> Option<Vec<String>> {
    let marks: Vec<_> = env
        .child_env()
        .into_iter()
        .filter(|(name, _)| MARKS.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    (marks.len() == MARKS.len()).then_some(marks)
}

/// What the kernel refused, on what, and what to do where that is known.
fn why_not_started(env: &Pm2Env, step: Step, errno: i32) -> String {
    use rustix::io::Errno;
    let error = Errno::from_raw_os_error(errno);
    let on = match step {
        Step::WorkingDirectory => env.cwd().to_owned(),
        _ => env.command_line().program,
    };
    let advice = match (step, error) {
        (Step::Exec, Errno::ACCESS) => "; is it executable? chmod +x makes it so, or name an --interpreter",
        (Step::Exec, Errno::NOEXEC) => {
            "; it is no program: give it a first line such as #!/bin/sh, or name an --interpreter"
        }
        _ => "",
    };
    let told = std::io::Error::from(error);
    format!("{} ({on}): {told}{advice}", step.describe())
}

fn is_transient(errno: i32) -> bool {
    TRANSIENT.contains(&rustix::io::Errno::from_raw_os_error(errno))
}

/// Node's own source maps: stacks tell the lines that were written, not those that were made of them.
const SOURCE_MAPS: &str = "--enable-source-maps";

/// What the keeper is to execute.
fn spec_of(env: &Pm2Env, takes: Takes, parts: WorkerParts, given: &Given) -> Result<SpawnSpec, String> {
    let mut program = program_of(env)?;
    program.argv.splice(1..1, parts.args);
    if takes.source_maps && env.wants_source_maps() {
        program.argv.insert(1, SOURCE_MAPS.into());
    }
    program.env.extend(parts.vars);
    let sockets = given.fds.len();
    if sockets > 0 {
        program.env.push(format!("LISTEN_FDS={sockets}").into());
        program.env.push(format!("LISTEN_FDNAMES={}", given.names).into());
        program.listen_pid = true;
    }
    program
        .env
        .push(format!("{}={}", node::CHANNEL_FD, 3 + sockets).into());
    program.env.push(
        format!(
            "{}={}",
            node::CHANNEL_SERIALIZATION_MODE,
            node::SERIALIZATION_JSON
        )
        .into(),
    );
    Ok(SpawnSpec {
        program,
        stdin_pipe: true,
        ipc: IpcPlace::Last,
        in_cgroup: false,
    })
}

/// The program of a process with its directory, user and variables, but for those of its IPC channel.
pub(crate) fn program_of(env: &Pm2Env) -> Result<Program, String> {
    let line = env.command_line();
    let mut argv: Vec<OsString> = vec![line.program.clone().into()];
    argv.extend(line.argv().map(OsString::from));
    let identity = identity_of(env)?;
    let home = match (&identity, env.uid()) {
        (Some(_), Some(uid)) => os::users::user(&uid).map(|user| user.home),
        _ => None,
    };
    let mut vars: Vec<OsString> = env
        .child_env()
        .into_iter()
        .filter(|(name, _)| home.is_none() || name != "HOME")
        .map(|(name, value)| format!("{name}={value}").into())
        .collect();
    if let Some(home) = home {
        let mut var = OsString::from("HOME=");
        var.push(home);
        vars.push(var);
    }
    Ok(Program {
        exec: line.program.into(),
        argv,
        env: vars,
        cwd: env.cwd().into(),
        identity,
        listen_pid: false,
    })
}

pub(crate) fn identity_of(env: &Pm2Env) -> Result<Option<Identity>, String> {
    let (uid, gid) = (env.uid(), env.gid());
    if uid.is_none() && gid.is_none() {
        return Ok(None);
    }
    let (own_uid, own_gid) = os::users::effective_ids();
    let user = match &uid {
        Some(uid) => Some(os::users::user(uid).ok_or_else(|| format!("there is no user {uid}"))?),
        None => None,
    };
    let gid = match &gid {
        Some(gid) => Some(os::users::group_id(gid).ok_or_else(|| format!("there is no group {gid}"))?),
        None => None,
    };
    let primary = gid
        .or_else(|| user.as_ref().map(|user| user.gid))
        .unwrap_or(own_gid);
    let groups = user
        .as_ref()
        .map_or_else(|| vec![primary], |user| os::users::groups_of(&user.name, primary));
    Ok(Some(Identity {
        uid: user.map_or(own_uid, |user| user.uid),
        gid: primary,
        groups,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn env(value: serde_json::Value) -> Pm2Env {
        match value {
            serde_json::Value::Object(map) => Pm2Env::from(map),
            other => panic!("not an object: {other}"),
        }
    }

    #[test]
    fn a_node_app_is_run_by_node_with_its_channel() {
        let spec = spec_of(&env(json!({
            "exec_interpreter": "node", "node_args": ["--harmony"], "pm_exec_path": "/a/app.js", "args": ["x y"],
            "pm_cwd": "/a", "PORT": 80, "env": { "PORT": 80 },
        })), Takes::ALL, WorkerParts::default(), &Given::default())
        .unwrap();
        assert_eq!(
            spec.program.argv,
            ["node", "--enable-source-maps", "--harmony", "/a/app.js", "x y"]
        );
        assert_eq!(spec.program.cwd, std::path::Path::new("/a"));
        assert!(
            spec.program.env.contains(&"PORT=80".into())
                && spec.program.env.contains(&"NODE_CHANNEL_FD=3".into())
        );
        assert!(
            !spec
                .program
                .env
                .iter()
                .any(|var| var.to_string_lossy().starts_with("env="))
        );
        assert_eq!(spec.program.identity, None);
        assert!(
            spec_of(
                &env(json!({ "pm_exec_path": "/x", "uid": "no such user" })),
                Takes::ALL,
                WorkerParts::default(),
                &Given::default()
            )
            .is_err()
        );
    }
}
