//! Reload: what the supervisor's decisions mean for the entry, the bus and the log.

use pm2::Object;
use serde_json::Value;
use supervisor::{Command, Exit, Incarnation, Input, ProcId, Refusal, ReloadFailure, Status};

use crate::clock;
use crate::jobs::JobId;
use crate::journal::Level;
use crate::owner::{Daemon, exit_line};

impl Daemon {
    /// Replace the present life with one that has what the caller brought.
    pub(crate) fn reload(&mut self, id: ProcId, brought: &Object, soft: bool, job: JobId) {
        let view = self.sup.view(id);
        if view.is_some_and(|view| view.former.is_some()) {
            // What this caller brought must not get into the reload that is under way.
            let ticket = self.jobs.ticket(job, id);
            return self.settle_ticket(ticket, Err(Refusal::ReloadInProgress));
        }
        if view.is_some_and(|view| view.status == Status::Online)
            && let Some(app) = self.apps.get_mut(&id)
        {
            app.former_env = Some(app.env.clone());
        }
        let policy = self.take_in(id, brought);
        self.command_for(job, id, Command::Reload { id, policy, soft });
    }

    /// Once a reload is over (or was a restart), there is nothing to go back to.
    pub(crate) fn forget_former_env(&mut self, id: ProcId) {
        if let Some(app) = self.apps.get_mut(&id)
            && self.sup.view(id).is_none_or(|view| view.former.is_none())
        {
            app.former_env = None;
        }
    }

    /// Take a life out of service. A child that shares its sockets through this daemon gets no more connections and is asked to
    /// disconnect; any other is ended by the signal that follows.
    pub(crate) fn retire(&mut self, incarnation: Incarnation) {
        self.disconnect_worker(incarnation);
        // Nothing can be asked of one that is no worker: the signal need not wait.
        if let Some(id) = self.not_a_worker(incarnation)
            && !self
                .sup
                .policy(id)
                .is_some_and(|policy| policy.shutdown_with_message)
        {
            self.handle(Input::ChannelClosed { id, incarnation });
        }
        let label = self.label(incarnation);
        self.say(Level::Log, &format!("App [{label}] is being retired"));
    }

    /// The new life did not come up: the entry is again what it was.
    pub(crate) fn reload_failed(&mut self, id: ProcId, cause: ReloadFailure) {
        let pid = self.pid_of(id);
        let Some(app) = self.apps.get_mut(&id) else { return };
        let load_error = app.env.load_error().map(str::to_owned);
        if let Some(former) = app.former_env.take() {
            app.env = former;
        }
        self.follow_entry(id, clock::wall_ms());
        let Some(app) = self.apps.get(&id) else { return };
        let label = format!("{}:{}", app.env.name(), id.0);
        if let Some(path) = app.env.pid_path() {
            self.disk.write(path, pid.to_string(), 0o644);
        }
        let how = match cause {
            ReloadFailure::NotStarted => "could not be started".to_owned(),
            ReloadFailure::Ended(Exit::Code(code)) => format!("ended with code {code} before it was up"),
            ReloadFailure::Ended(Exit::Signal(signal)) => format!(
                "was ended by {} before it was up",
                os::signal::name(signal).unwrap_or("a realtime signal")
            ),
            ReloadFailure::Ended(Exit::Unknown) => "ended before it was up".to_owned(),
            ReloadFailure::Unhealthy => format!(
                "did not become healthy ({})",
                app.ailment.as_deref().unwrap_or("its check did not answer")
            ),
            ReloadFailure::Broken => format!(
                "could not load its main module ({})",
                load_error.as_deref().unwrap_or("it did not say why")
            ),
        };
        self.say(
            Level::Error,
            &format!("App [{label}]: the reload failed, its new instance {how}; the former one (pid {pid}) serves on"),
        );
        if let Some(app) = self.apps.get_mut(&id) {
            app.reload_trouble = Some(how);
        }
    }

    /// The life that a reload replaced has ended. The bus hears of it twice, as of any stop, under the name that PM2 parks it by.
    pub(crate) fn former_ended(&mut self, id: ProcId, exit: Exit) {
        let parked = format!("_old_{}", id.0);
        let Some(app) = self.apps.get_mut(&id) else { return };
        let line = exit_line(&format!("{}:{parked}", app.env.name()), exit);
        let mut shown = app.former_env.clone().unwrap_or_else(|| app.env.clone());
        shown.set("pm_id", Value::from(parked));
        shown.set("exit_code", exit.code());
        self.say(Level::Log, &line);
        for status in [Status::Stopping, Status::Stopped] {
            shown.set("status", pm2::env::status_text(status));
            self.publish_entry("exit", false, &shown);
        }
    }
}
