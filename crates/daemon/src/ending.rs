//! The end of the daemon, on purpose: dump, stop everything, tidy up, tell the keeper.

use keeper::protocol::Request;
use supervisor::{Command, Input};

use crate::journal::Level;
use crate::owner::{Daemon, Then};

/// How far the end has come.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Processes are still being stopped.
    stopping: bool,
    /// Who asked by killMe, to be told by a signal.
    caller: Option<u32>,
    /// All is done: the loop may return.
    done: bool,
}

impl Ending {
    /// Nothing is left to wait for.
    pub(crate) fn waits_for_nothing(&self) -> bool {
        !self.stopping && !self.done
    }
}

impl Daemon {
    /// A signal asks for the end: what runs is written down first, so that `resurrect` finds it.
    pub(crate) fn end_by_signal(&mut self, signal: i32) {
        if self.ending.is_some() {
            return;
        }
        self.say(
            Level::Log,
            &format!("got {}, ending", os::signal::name(signal).unwrap_or("a signal")),
        );
        self.dump();
        self.end(None);
    }

    /// A client asks for the end. It has deleted its apps before; what is left is stopped all the same.
    pub(crate) fn end_by_request(&mut self, caller: Option<u32>) {
        if self.ending.is_some() {
            return;
        }
        if let Ok(frame) = pm2::bus::kill() {
            let _ = self.bus.publish(frame);
        }
        self.end(caller);
    }

    fn end(&mut self, caller: Option<u32>) {
        self.agent.stop(agent::StopReason::Shutdown);
        self.handle(Input::Draining);
        let ids: Vec<_> = self.sup.ids().collect();
        self.ending = Some(Ending {
            stopping: !ids.is_empty(),
            caller,
            done: false,
        });
        if !ids.is_empty() {
            let job = self.jobs.open(Then::End);
            for id in ids {
                self.command_for(job, id, Command::Delete(id));
            }
        }
    }

    /// Everything has stopped.
    pub(crate) fn all_stopped(&mut self) {
        if let Some(ending) = &mut self.ending {
            ending.stopping = false;
        }
    }

    /// The last steps.
    pub(crate) fn end_now(&mut self) {
        self.say(Level::Log, "PM2 successfully stopped");
        for socket in [
            &self.home.rpc_sock,
            &self.home.pub_sock,
            &self.home.interactor_sock,
        ] {
            self.disk.remove(socket.clone());
        }
        self.disk.remove(self.home.pid_file.clone());
        if let Err(error) = self.keeper.send(&Request::Shutdown) {
            self.complain(&format!("ending the keeper: {error}"));
        }
        self.disk.finish();
        if let Some(ending) = &mut self.ending {
            ending.done = true;
            if let Some(caller) = ending.caller {
                // The client waits for exactly this.
                let _ = os::process::kill(caller, os::signal::SIGQUIT);
            }
        }
    }

    /// Whether the loop may return.
    pub(crate) fn has_ended(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.done)
    }

    /// Write down what runs, unless that is nothing.
    fn dump(&mut self) {
        let entries: Vec<_> = self
            .apps
            .values()
            .map(|app| &app.env)
            .filter(|env| !env.is_module())
            .collect();
        if entries.is_empty() {
            return;
        }
        let text = pm2::dump::write(entries);
        self.disk.write(self.home.dump_file.clone(), text, 0o600);
    }
}
