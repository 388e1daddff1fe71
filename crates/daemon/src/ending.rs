//! The end of the daemon, on purpose: dump, stop everything, tidy up, tell the keeper.

use keeper::protocol::Request;
use supervisor::{Command, Input};

use crate::event::Event;
use crate::journal::Level;
use crate::methods::agent::GOOD_BYE;
use crate::owner::{Daemon, Then};

/// How far the end has come.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Processes are still being stopped.
    stopping: bool,
    /// The agent is still saying good-bye.
    agent: bool,
    /// Who asked by killMe, to be told by a signal.
    caller: Option<u32>,
    /// All is done: the loop may return.
    done: bool,
}

impl Ending {
    /// Nothing is left to wait for.
    pub(crate) fn waits_for_nothing(&self) -> bool {
        !self.stopping && !self.agent && !self.done
    }
}

impl Ending {
    /// The agent has ended.
    pub(crate) fn agent_has_gone(&mut self) {
        self.agent = false;
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
        let agent = self
            .agent
            .stop(agent::StopReason::Shutdown)
            .then(|| self.agent.former())
            .flatten();
        let waits_for_agent = agent.is_some();
        if let Some(agent) = agent {
            let events = self.events.clone();
            tokio::spawn(async move {
                let _ = tokio::time::timeout(GOOD_BYE, agent.ended()).await;
                let _ = events.send(Event::AgentSaidGoodBye).await;
            });
        }
        self.handle(Input::Draining);
        let ids: Vec<_> = self.sup.ids().collect();
        self.ending = Some(Ending {
            stopping: !ids.is_empty(),
            agent: waits_for_agent,
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
