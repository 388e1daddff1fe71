//! The end of the daemon, on purpose: dump, stop everything, tidy up, tell the keeper.

use std::time::Duration;

use keeper::protocol::Request;
use supervisor::{Command, Input, Mono};

use crate::clock;
use crate::event::Event;
use crate::journal::Level;
use crate::methods::agent::GOOD_BYE;
use crate::owner::{Daemon, Then};
use crate::tree;

/// Time for what apps wrote last to reach files and listeners. A descendant that outlives its app may hold a pipe for ever.
const LAST_WORDS: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(5);

/// How far the end has come.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Processes are still being stopped.
    stopping: bool,
    /// The agent is still saying good-bye.
    agent: bool,
    /// Until when the last words of apps are waited for.
    words_until: Option<Mono>,
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
        self.tell_end(pm2::bus::KilledBy::Signal);
        self.end(None);
    }

    fn tell_end(&mut self, by: pm2::bus::KilledBy) {
        if let Ok(frame) = pm2::bus::kill(by) {
            let _ = self.bus.publish(frame);
        }
    }

    /// A client is about to delete all apps and then to ask for the end: nothing is restarted in between. Should the client end without
    /// that, because somebody has thought better of it, things are as they were: a daemon that restarts nothing is of no use.
    pub(crate) fn end_is_announced(&mut self, client: u32) {
        self.handle(Input::Draining);
        self.killers += 1;
        // Of a client in another container nothing is known: it is taken at its word.
        if let Ok(client) = os::process::open(client) {
            let events = self.events.clone();
            tokio::spawn(async move {
                if tree::wait_for_all(vec![client]).await.is_ok() {
                    let _ = events.send(Event::KillerEnded).await;
                }
            });
        }
    }

    /// A client that had announced the end has ended itself.
    pub(crate) fn killer_ended(&mut self) {
        self.killers = self.killers.saturating_sub(1);
        if self.killers == 0 && self.ending.is_none() {
            self.handle(Input::GoingOn);
            self.say(
                Level::Log,
                "the command that was to end this daemon has ended before: what crashes is restarted again",
            );
        }
    }

    /// A client asks for the end. It has deleted its apps before; what is left is stopped all the same.
    pub(crate) fn end_by_request(&mut self, caller: Option<u32>) {
        if self.ending.is_some() {
            return;
        }
        self.tell_end(pm2::bus::KilledBy::Client);
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
            words_until: None,
            caller,
            done: false,
        });
        if !ids.is_empty() {
            let job = self.jobs.open(Then::End);
            for id in ids {
                // Not deleted: what they still say would be nobody's.
                self.command_for(job, id, Command::Stop(id));
            }
        }
    }

    /// Everything has stopped.
    pub(crate) fn all_stopped(&mut self) {
        if let Some(ending) = &mut self.ending {
            ending.stopping = false;
        }
    }

    /// Whether only the last steps are left: everything has stopped, and what was said last has been heard, or took too long.
    pub(crate) fn can_end(&mut self) -> bool {
        let heard = self.lives.values().all(|life| life.open_streams == 0) && self.bus.is_flushed();
        let Some(ending) = self.ending.as_mut().filter(|ending| ending.waits_for_nothing()) else {
            return false;
        };
        let now = clock::now().mono;
        let until = *ending.words_until.get_or_insert(now.after(LAST_WORDS));
        heard || until <= now
    }

    /// When to look again whether the last words were heard; nobody tells when a client has read.
    pub(crate) fn next_look_at_end(&self) -> Option<Mono> {
        let ending = self.ending.as_ref().filter(|ending| ending.waits_for_nothing())?;
        ending.words_until.map(|_| clock::now().mono.after(LOOK))
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
        for id in self.apps.keys() {
            self.strike_from_ledger(*id);
        }
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
        self.has_left() || self.ending.as_ref().is_some_and(|ending| ending.done)
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
