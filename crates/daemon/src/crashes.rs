//! Ends that nobody asked for: what is known of one is gathered when it happens, and written down when the last words are in the log.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use agent::redact;
use keeper::protocol::ExitReport;
use logs::Times;
use logs::crashes::{Crashes, Ended, LINES, LONGEST_LINE, Oom, Past, Report, Taken, VERSION, Versions};
use logs::history::{Log, Span};
use os::signal::SIGKILL;
use pm2::env::{ExecMode, Pm2Env};
use serde_json::json;
use supervisor::{Incarnation, Mono, ProcId, Status};

use crate::clock;
use crate::event::Event;
use crate::journal::Level;
use crate::owner::Daemon;
use crate::recent::Look;

/// A grandchild may hold the output open for ever; nobody waits longer for last words.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Reports that are written at the same time. What comes faster is counted.
const AT_ONCE: usize = 4;
/// Ends that are remembered of each app.
const HISTORY: usize = 20;
/// Cgroups whose counters are watched.
const CGROUPS: usize = 256;
/// How long the first look at a new process is waited for.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// On the bus, beside PM2's topics.
const TOPIC: &str = "pilothouse:crash";

/// Kills for want of memory that were counted when it was looked last.
#[derive(Debug, Default)]
struct Counted {
    cgroups: BTreeMap<PathBuf, u64>,
    host: u64,
}

/// Reports on their way, and what they need.
#[derive(Debug, Default)]
pub(crate) struct CrashWatch {
    writing: usize,
    missed: u64,
    counted: Counted,
    /// When processes are looked at next.
    next_look: Option<Mono>,
}

/// A report whose last lines are missing yet.
#[derive(Debug)]
pub(crate) struct Draft {
    report: Report,
    out: Option<PathBuf>,
    err: Option<PathBuf>,
    times: PathBuf,
    /// Values of variables that must not be in it.
    secrets: Vec<String>,
    by_sigkill: bool,
}

impl CrashWatch {
    /// When something is to be done.
    pub(crate) fn next_look(&self) -> Option<Mono> {
        self.next_look
    }
}

impl Daemon {
    /// A process was started: it is looked at soon.
    pub(crate) fn look_soon(&mut self) {
        let soon = clock::mono().after(FIRST_LOOK);
        let next = self.crashes.next_look.map_or(soon, |next| next.min(soon));
        self.crashes.next_look = Some(next);
    }

    /// Look at the processes that are due.
    pub(crate) fn look_at_processes(&mut self) {
        let now = clock::mono();
        if self.crashes.next_look.is_none_or(|at| at > now) {
            return;
        }
        let mut next: Option<Mono> = None;
        let mut cgroups = Vec::new();
        for (id, app) in &mut self.apps {
            let Some(view) = self.sup.view(*id).filter(|view| view.status == Status::Online) else {
                continue;
            };
            if app.usage.recent().due() <= now {
                if app.usage.recent().is_empty() {
                    cgroups.extend(view.pid.and_then(os::oom::cgroup_of));
                }
                let sample = view.pid.and_then(|pid| self.sampler.sample(pid));
                app.usage.update(now, sample);
            }
            // One that could not be looked at now is not looked at all the time.
            let due = app.usage.recent().due().max(now.after(FIRST_LOOK));
            next = Some(next.map_or(due, |next| next.min(due)));
        }
        self.crashes.next_look = next;
        for cgroup in cgroups {
            self.know_cgroup(&cgroup);
        }
        self.count_oom_kills();
    }

    fn count_oom_kills(&mut self) {
        let counted = &mut self.crashes.counted;
        // One that has gone counts no more.
        counted
            .cgroups
            .retain(|cgroup, count| match os::oom::killed_in(cgroup) {
                Some(now) => {
                    *count = now;
                    true
                }
                None => false,
            });
        counted.host = os::oom::killed_on_host().unwrap_or(counted.host);
    }

    /// A process begins in this cgroup.
    fn know_cgroup(&mut self, cgroup: &PathBuf) {
        let cgroups = &self.crashes.counted.cgroups;
        if cgroups.len() < CGROUPS
            && !cgroups.contains_key(cgroup)
            && let Some(count) = os::oom::killed_in(cgroup)
        {
            self.crashes.counted.cgroups.insert(cgroup.clone(), count);
        }
    }

    /// Begin to count: what was killed before is nobody's crash.
    pub(crate) fn begin_crash_watch(&mut self) {
        if let Some(own) = os::oom::cgroup_of(std::process::id()) {
            self.know_cgroup(&own);
        }
        self.count_oom_kills();
    }

    /// A life has ended. If nobody asked for that, and it did not end well, a report of it is begun. Call it before the supervisor
    /// decides what comes next.
    pub(crate) fn note_exit(&mut self, incarnation: Incarnation, exit: &ExitReport) {
        let Some(id) = self.lives.get(&incarnation).map(|life| life.id) else {
            return;
        };
        let by_itself = self.sup.view(id).is_some_and(|view| {
            view.incarnation == Some(incarnation) && matches!(view.status, Status::Online | Status::Launching)
        });
        if !by_itself {
            return;
        }
        let ended = match exit.exit {
            os::wait::Exit::Code(code) => Ended {
                code: Some(code),
                signal: None,
            },
            os::wait::Exit::Signal(number) => Ended {
                code: None,
                signal: Some(
                    os::signal::name(number).map_or_else(|| format!("signal {number}"), str::to_owned),
                ),
            },
            os::wait::Exit::Unknown => Ended::default(),
        };
        let well = match exit.exit {
            os::wait::Exit::Code(code) => {
                code == 0
                    || self
                        .sup
                        .policy(id)
                        .is_some_and(|policy| policy.stop_exit_codes.contains(&code))
            }
            os::wait::Exit::Signal(_) => false,
            // Not our child: nobody knows, and a guess would be a false alarm.
            os::wait::Exit::Unknown => true,
        };
        let by_sigkill = exit.exit == os::wait::Exit::Signal(SIGKILL);
        let draft = self.draft(id, incarnation, exit, ended.clone(), by_sigkill);
        let Some(app) = self.apps.get_mut(&id) else { return };
        if app.ends.len() >= HISTORY {
            app.ends.pop_front();
        }
        app.ends.push_back(Past {
            at_ms: i64::try_from(exit.at_ms).unwrap_or(i64::MAX),
            exit: ended,
            uptime_ms: draft.as_ref().map_or(0, |draft| draft.report.uptime_ms),
        });
        app.usage.forget_recent();
        if well {
            return;
        }
        if let Some(life) = self.lives.get_mut(&incarnation) {
            life.crash = draft.map(Box::new);
        }
        let events = self.events.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LAST_WORDS).await;
            let _ = events.send(Event::LastWordsOver { incarnation }).await;
        });
    }

    fn draft(
        &mut self,
        id: ProcId,
        incarnation: Incarnation,
        exit: &ExitReport,
        ended: Ended,
        by_sigkill: bool,
    ) -> Option<Draft> {
        let mut oom = if by_sigkill {
            self.new_oom_kills()
        } else {
            Oom {
                killed: Some(false),
                evidence: Vec::new(),
            }
        };
        // Its own cgroup has counted nothing but this life.
        let own = self.lives.get(&incarnation).and_then(|life| life.cgroup.as_ref());
        if let Some(cgroup) = own
            && let Some(kills) = os::oom::killed_in(cgroup).filter(|kills| *kills > 0)
        {
            // Where it was a child of it that was killed, that is a fact worth telling and no proof of this end.
            if by_sigkill {
                oom.killed = Some(true);
            }
            oom.evidence
                .push(format!("oom_kill of {} is {kills}", cgroup.display()));
        }
        let (life, app) = (self.lives.get(&incarnation)?, self.apps.get(&id)?);
        let env = &app.env;
        let now = clock::now();
        let at_ms = i64::try_from(exit.at_ms).unwrap_or(now.wall_ms);
        let uptime_ms = exit.at_ms.saturating_sub(life.spawned_at_ms);
        let begin = Mono(now.mono.0.saturating_sub(60_000.min(uptime_ms + 1000)));
        let wall =
            |look: Look| now.wall_ms - i64::try_from(now.mono.0.saturating_sub(look.at.0)).unwrap_or(0);
        let usage = app.usage.recent().since(begin);
        let usage: Vec<Taken> = usage
            .map(|look| Taken {
                at_ms: wall(look),
                cpu: look.cpu,
                memory: look.memory,
            })
            .collect();
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (variables, secrets) = variables(env);
        let report = Report {
            version: VERSION,
            at_ms,
            at: pm2::dates::iso(at_ms),
            name: env.name().to_owned(),
            pm_id: id.0,
            namespace: env.namespace().to_owned(),
            pid: life.pid,
            exit: ended,
            oom,
            uptime_ms,
            cpu_ms: milliseconds(exit.usage.user + exit.usage.system),
            peak_memory: exit.usage.max_rss_bytes,
            memory_limit: self.sup.policy(id).and_then(|policy| policy.max_memory),
            restarts: env.restarts(),
            unstable_restarts: env.unstable_restarts(),
            history: app.ends.iter().cloned().collect(),
            command: command(env),
            cwd: env.cwd().to_owned(),
            mode: match env.exec_mode() {
                ExecMode::Fork => "fork".into(),
                ExecMode::Cluster => "cluster".into(),
            },
            variables,
            versions: Versions {
                pilothouse: env!("CARGO_PKG_VERSION").into(),
                app: env.version().to_owned(),
                node: env.node_version().to_owned(),
            },
            usage,
            ..Report::default()
        };
        let path = |log: Option<&str>| log.or(env.combined_log()).map(PathBuf::from);
        Some(Draft {
            report,
            out: path(env.out_log()),
            err: path(env.err_log()),
            times: self.home.log_times.clone(),
            secrets,
            by_sigkill,
        })
    }

    /// What the counters say of the time since they were looked at last.
    fn new_oom_kills(&mut self) -> Oom {
        let counted = &self.crashes.counted;
        let mut evidence = Vec::new();
        let mut known = false;
        for (cgroup, before) in &counted.cgroups {
            let Some(now) = os::oom::killed_in(cgroup) else {
                continue;
            };
            known = true;
            if now > *before {
                evidence.push(format!(
                    "oom_kill of {} rose from {before} to {now}",
                    cgroup.display()
                ));
            }
        }
        if let Some(now) = os::oom::killed_on_host() {
            known = true;
            if now > counted.host {
                evidence.push(format!(
                    "oom_kill of /proc/vmstat rose from {} to {now}",
                    counted.host
                ));
            }
        }
        self.count_oom_kills();
        Oom {
            killed: known.then_some(!evidence.is_empty()),
            evidence,
        }
    }

    /// All that a life had to say is in the log, or nobody waits for it any longer: write its report, if it has one.
    pub(crate) fn write_crash(&mut self, incarnation: Incarnation) {
        let Some(draft) = self
            .lives
            .get_mut(&incarnation)
            .and_then(|life| life.crash.take())
        else {
            return;
        };
        if self.crashes.writing >= AT_ONCE {
            self.crashes.missed += 1;
            return;
        }
        self.crashes.writing += 1;
        let mut draft = *draft;
        draft.report.missed = std::mem::take(&mut self.crashes.missed);
        let crashes = Crashes::new(self.home.crash_dir.clone());
        let events = self.events.clone();
        tokio::spawn(async move {
            let written = tokio::task::spawn_blocking(move || {
                let report = draft.complete();
                let written = crashes.write(&report).map_err(|error| error.to_string());
                (Box::new(report), written)
            });
            if let Ok((report, written)) = written.await {
                let _ = events.send(Event::CrashWritten { report, written }).await;
            }
        });
    }

    /// A report was written, or could not be.
    pub(crate) fn crash_written(&mut self, report: &Report, written: Result<String, String>) {
        self.crashes.writing = self.crashes.writing.saturating_sub(1);
        let label = format!("{}:{}", report.name, report.pm_id);
        let how = match report.oom.killed {
            Some(true) => format!("{}, for want of memory", report.exit.text()),
            _ => report.exit.text(),
        };
        match written {
            Ok(name) => {
                self.say(
                    Level::Log,
                    &format!("App [{label}] crashed ({how}), report {name}"),
                );
                let data = json!({
                    "report": name, "at": report.at_ms, "pid": report.pid, "code": report.exit.code, "signal": report.exit.signal,
                    "oom": report.oom.killed, "uptime": report.uptime_ms, "memory": report.peak_memory,
                });
                self.publish_message(ProcId(report.pm_id), TOPIC, &data);
            }
            Err(error) => self.complain(&format!(
                "App [{label}] crashed ({how}), writing its report: {error}"
            )),
        }
    }
}

impl Draft {
    /// Read what is missing. It blocks.
    fn complete(self) -> Report {
        let mut report = self.report;
        if self.by_sigkill
            && let Some(words) = os::oom::words_of_kernel(report.pid)
        {
            report.oom.killed = Some(true);
            report.oom.evidence.push(words);
        }
        let times = Times::new(self.times);
        let begin = report
            .at_ms
            .saturating_sub(i64::try_from(report.uptime_ms).unwrap_or(i64::MAX));
        let last = |path: Option<PathBuf>| {
            let Some(path) = path else { return Vec::new() };
            let log = Log {
                path: &path,
                times: &times,
            };
            // Of this life only; where times are not known, whatever is last.
            let span = Span {
                since_ms: Some(begin.div_euclid(1000) * 1000),
                until_ms: None,
            };
            let of_life = logs::history::last(log, span, LINES, &mut |_| true).unwrap_or_default();
            let lines = if of_life.is_empty() && times.of_log(&path).is_empty() {
                logs::history::last(log, Span::default(), LINES, &mut |_| true).unwrap_or_default()
            } else {
                of_life
            };
            lines
                .iter()
                .map(|line| hidden(&line.text, &self.secrets))
                .collect()
        };
        report.out = last(self.out);
        report.err = last(self.err);
        report
    }
}

/// A line without the values of secret variables.
fn hidden(line: &[u8], secrets: &[String]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut text = redact::clip(&text, LONGEST_LINE).to_owned();
    for secret in secrets {
        if text.contains(secret.as_str()) {
            text = text.replace(secret.as_str(), redact::HIDDEN);
        }
    }
    text
}

/// What was executed.
fn command(env: &Pm2Env) -> Vec<String> {
    let line = env.command_line();
    let words = std::iter::once(line.program.clone()).chain(line.argv().map(str::to_owned));
    redact::words(words)
}

/// Names of the variables of an app, and the values of those that sound like secrets.
fn variables(env: &Pm2Env) -> (Vec<String>, Vec<String>) {
    let mut names = Vec::new();
    let mut secrets = Vec::new();
    for (name, value) in env.child_env() {
        // Short values are words that stand in any text.
        if redact::is_secret(&name) && value.len() >= 6 {
            secrets.push(value);
        }
        names.push(name);
    }
    names.sort_unstable();
    (names, secrets)
}

/// The ends of an app that nobody asked for.
pub(crate) type Ends = VecDeque<Past>;
