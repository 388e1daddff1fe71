//! What is looked at from time to time: memory limits, and the usage that lists show.

use pm2::env::Monit;
use supervisor::{Input, ProcId, Status};

use crate::clock;
use crate::owner::Daemon;

impl Daemon {
    /// Compare each process that has a limit with it.
    pub(crate) fn check_memory(&mut self) {
        let limited: Vec<ProcId> = self
            .sup
            .ids()
            .filter(|id| {
                self.sup
                    .policy(*id)
                    .is_some_and(|policy| policy.max_memory.is_some())
            })
            .collect();
        for id in limited {
            // A process that named another one to be measured is left alone.
            if self
                .apps
                .get(&id)
                .is_none_or(|app| app.env.measured_pid().is_some())
            {
                continue;
            }
            let Some((pid, incarnation)) = self
                .sup
                .view(id)
                .and_then(|view| Some((view.pid?, view.incarnation?)))
            else {
                continue;
            };
            if let Some(sample) = self.sampler.sample(pid) {
                self.handle(Input::Memory {
                    id,
                    incarnation,
                    rss: sample.rss_bytes,
                });
            }
        }
    }

    /// Measure all processes that are online, but those that somebody looked at a moment ago.
    pub(crate) fn measure(&mut self) {
        let now = clock::mono();
        for (id, app) in &mut self.apps {
            let online = self.sup.view(*id).filter(|view| view.status == Status::Online);
            let pid = match app.env.measured_pid() {
                Some(pid) => pid.filter(|_| online.is_some()),
                None => online.and_then(|view| view.pid),
            };
            if pid.is_some_and(|pid| app.usage.is_fresh(now, pid)) {
                continue;
            }
            let sample = pid.and_then(|pid| self.sampler.sample(pid));
            app.usage.update(now, sample);
        }
    }

    /// What a process took when it was measured last.
    pub(crate) fn monit(&self, id: ProcId) -> Monit {
        self.apps
            .get(&id)
            .map(|app| app.usage.monit())
            .unwrap_or_default()
    }
}
