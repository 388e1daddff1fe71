//! Restarts by the clock.
//!
//! Which processes have a pattern follows from the entries ([`Daemon::follow_entry`]). One alarm of the kernel's is set to the next time of
//! all of them; it follows the wall clock, so a machine that slept or a clock that was set makes no restart late, and none comes twice.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use os::alarm::{Rang, WallAlarm};
use pm2::cron::Schedule;
use pm2::dates::TimeZone;
use supervisor::ProcId;
use tokio::sync::mpsc::Sender;

use crate::clock;
use crate::event::Event;
use crate::journal::Level;
use crate::owner::Daemon;
use crate::watched::watched;

/// All patterns, and the alarm.
#[derive(Debug, Default)]
pub(crate) struct Crons {
    jobs: Jobs,
    alarm: Option<Arc<WallAlarm>>,
}

/// Who is to be restarted when. Pure: it is told the time.
#[derive(Debug, Default)]
struct Jobs {
    /// `None`: the host's.
    zone: Option<TimeZone>,
    jobs: BTreeMap<ProcId, Job>,
}

#[derive(Debug)]
struct Job {
    pattern: String,
    schedule: Schedule,
    next_ms: Option<i64>,
}

impl Jobs {
    fn add(&mut self, id: ProcId, pattern: String, schedule: Schedule, now_ms: i64) -> bool {
        let next_ms = schedule.next_after(now_ms, zone(self.zone.as_ref()));
        let job = Job {
            pattern,
            schedule,
            next_ms,
        };
        self.jobs.insert(id, job);
        next_ms.is_some()
    }

    fn next_ms(&self) -> Option<i64> {
        self.jobs.values().filter_map(|job| job.next_ms).min()
    }

    /// Those whose time has come, each once, however often it came since the last look. After the clock was set, the times of the others
    /// are reckoned from the new time.
    fn take_due(&mut self, now_ms: i64, clock_was_set: bool) -> Vec<ProcId> {
        let mut due = Vec::new();
        for (id, job) in &mut self.jobs {
            let is_due = job.next_ms.is_some_and(|at| at <= now_ms);
            if is_due {
                due.push(*id);
            }
            if is_due || clock_was_set {
                job.next_ms = job.schedule.next_after(now_ms, zone(self.zone.as_ref()));
            }
        }
        due
    }
}

fn zone(chosen: Option<&TimeZone>) -> &TimeZone {
    chosen.unwrap_or_else(|| clock::zone())
}

impl Crons {
    fn set_alarm(&self) -> io::Result<()> {
        match &self.alarm {
            Some(alarm) => alarm.set(self.jobs.next_ms()),
            None => Ok(()),
        }
    }
}

impl Daemon {
    /// Restart a process at the times that its entry says now.
    pub(crate) fn follow_cron(&mut self, id: ProcId) {
        let pattern = self.apps.get(&id).and_then(|app| app.env.cron_restart());
        let present = self.crons.jobs.jobs.get(&id).map(|job| &job.pattern);
        if present == pattern.as_ref() {
            return;
        }
        self.crons.jobs.jobs.remove(&id);
        if let Some(pattern) = pattern {
            self.add_cron(id, pattern);
        }
        self.set_alarm();
    }

    /// A process has gone.
    pub(crate) fn forget_cron(&mut self, id: ProcId) {
        if self.crons.jobs.jobs.remove(&id).is_some() {
            self.set_alarm();
        }
    }

    fn add_cron(&mut self, id: ProcId, pattern: String) {
        let label = self
            .apps
            .get(&id)
            .map_or_else(String::new, |app| format!("{}:{}", app.env.name(), id.0));
        let schedule = match Schedule::parse(&pattern) {
            Ok(schedule) => schedule,
            Err(error) => {
                return self.complain(&format!(
                    "App [{label}] is not restarted by the clock: cron_restart {error}"
                ));
            }
        };
        if let Err(error) = self.crons.ring_to(&self.events) {
            return self.complain(&format!(
                "App [{label}] is not restarted by the clock: making an alarm: {error}"
            ));
        }
        if !self
            .crons
            .jobs
            .add(id, pattern.clone(), schedule, clock::wall_ms())
        {
            self.complain(&format!(
                "App [{label}] is never restarted by the clock: \"{pattern}\" does not come"
            ));
        }
    }

    fn set_alarm(&mut self) {
        if let Err(error) = self.crons.set_alarm() {
            self.complain(&format!("setting the alarm of cron_restart: {error}"));
        }
    }

    /// The time has come for somebody, or the clock was set.
    pub(crate) fn on_alarm(&mut self, clock_was_set: bool) {
        for id in self.crons.jobs.take_due(clock::wall_ms(), clock_was_set) {
            let pattern = self.crons.jobs.jobs.get(&id).map_or("", |job| &job.pattern);
            let Some(app) = self.apps.get(&id).filter(|_| self.ending.is_none()) else {
                continue;
            };
            let text = format!(
                "App [{}:{}] is restarted by its cron pattern {pattern}",
                app.env.name(),
                id.0
            );
            self.say(Level::Log, &text);
            self.restart_by_itself(id);
        }
        self.set_alarm();
    }
}

impl Crons {
    /// Makes the alarm, if there is none, and has its rings told to the owner loop.
    fn ring_to(&mut self, events: &Sender<Event>) -> io::Result<()> {
        if self.alarm.is_some() {
            return Ok(());
        }
        let alarm = Arc::new(WallAlarm::new()?);
        let bell = watched(os::fd::duplicate(&*alarm)?)?;
        self.alarm = Some(Arc::clone(&alarm));
        let events = events.clone();
        tokio::spawn(async move {
            while let Ok(mut ready) = bell.readable().await {
                let rang = alarm.take();
                ready.clear_ready();
                let clock_was_set = match rang {
                    Ok(Rang::Time) => false,
                    Ok(Rang::ClockSet) => true,
                    Ok(Rang::No) => continue,
                    Err(_) => return,
                };
                if events.send(Event::Alarm { clock_was_set }).await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn jobs(patterns: &[&str]) -> Jobs {
        let mut jobs = Jobs {
            zone: Some(TimeZone::UTC),
            jobs: BTreeMap::new(),
        };
        for (n, pattern) in (0..).zip(patterns) {
            jobs.add(
                ProcId(n),
                (*pattern).to_owned(),
                Schedule::parse(pattern).unwrap(),
                0,
            );
        }
        jobs
    }

    #[test]
    fn each_time_comes_once_and_the_alarm_is_set_to_the_next() {
        let mut jobs = jobs(&["0 * * * *", "30 * * * *", "0 0 31 2 *"]);
        assert_eq!(jobs.next_ms(), Some(HOUR / 2));
        assert_eq!(jobs.take_due(HOUR / 2 - 1, false), []);
        assert_eq!(jobs.take_due(HOUR / 2, false), [ProcId(1)]);
        assert_eq!(jobs.take_due(HOUR / 2, false), []);
        assert_eq!(jobs.next_ms(), Some(HOUR));
        assert_eq!(jobs.take_due(HOUR + 5, false), [ProcId(0)]);
        // The machine slept for two hours: once, not twice.
        assert_eq!(jobs.take_due(3 * HOUR + 5, false), [ProcId(0), ProcId(1)]);
        assert_eq!(jobs.next_ms(), Some(3 * HOUR + HOUR / 2));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_silence_a_pattern() {
        let mut jobs = jobs(&["0 * * * *"]);
        assert_eq!(
            jobs.take_due(1000 * HOUR, true),
            [ProcId(0)],
            "set forward: what was passed over comes"
        );
        assert_eq!(jobs.next_ms(), Some(1001 * HOUR));
        assert_eq!(jobs.take_due(2 * HOUR, true), []);
        assert_eq!(jobs.next_ms(), Some(3 * HOUR));
    }
}
