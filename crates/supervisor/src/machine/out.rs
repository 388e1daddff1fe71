//! What a transition may touch besides its own process.

use std::collections::VecDeque;

use crate::process::Process;
use crate::{Effect, Event, Incarnation, ProcId, Refusal, Ticket};

/// What a transition may touch besides its process.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) effects: VecDeque<Effect>,
    pub(super) next_incarnation: u64,
    pub(super) draining: bool,
}

impl Out {
    pub(super) fn reserve(&mut self, used: Incarnation) {
        self.next_incarnation = self.next_incarnation.max(used.0.saturating_add(1));
    }

    pub(super) fn reply(&mut self, ticket: Option<Ticket>, result: Result<(), Refusal>) {
        if let Some(ticket) = ticket {
            self.effects.push_back(Effect::Reply { ticket, result });
        }
    }

    pub(super) fn reply_all(&mut self, tickets: Vec<Ticket>, result: Result<(), Refusal>) {
        for ticket in tickets {
            self.reply(Some(ticket), result);
        }
    }

    pub(super) fn notify(&mut self, id: ProcId, process: &Process, event: Event) {
        self.effects.push_back(Effect::Notify {
            id,
            event,
            status: process.status(),
        });
    }

    pub(super) fn changed(&mut self, id: ProcId) {
        self.effects.push_back(Effect::Changed(id));
    }
}
