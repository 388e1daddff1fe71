//! A kind world for one process: what is asked for happens at once.

use supervisor::{
    Command, Effect, Event, Exit, Incarnation, Input, Living, Mono, Now, Phase, Policy, ProcId, Refusal,
    Status, Supervisor, Ticket,
};

pub(crate) const ID: ProcId = ProcId(0);

#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) sup: Supervisor,
    pub(crate) at: u64,
    pub(crate) seen: Vec<(Event, Status)>,
    pub(crate) replies: Vec<Result<(), Refusal>>,
    pub(crate) signals: Vec<i32>,
    pub(crate) asked: usize,
    pub(crate) probe: Option<u32>,
    pub(crate) retired: Vec<Incarnation>,
    pub(crate) spawns: u32,
    pub(crate) tree_round: Option<u32>,
}

impl Story {
    pub(crate) fn of(policy: Policy) -> Self {
        let mut story = Self {
            sup: Supervisor::new(Incarnation(1)),
            at: 1_000_000,
            seen: Vec::new(),
            replies: Vec::new(),
            signals: Vec::new(),
            asked: 0,
            probe: None,
            retired: Vec::new(),
            spawns: 0,
            tree_round: None,
        };
        story.command(Command::Add {
            id: ID,
            policy: Box::new(policy),
        });
        story
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            mono: Mono(self.at),
            wall_ms: i64::try_from(self.at).unwrap_or(0),
        }
    }

    pub(crate) fn command(&mut self, command: Command) {
        let ticket = Some(Ticket(self.at * 100 + self.replies.len() as u64));
        self.input(Input::Command { ticket, command });
    }

    pub(crate) fn input(&mut self, input: Input) {
        let now = self.now();
        self.sup.handle(now, input);
        self.drain();
    }

    pub(crate) fn drain(&mut self) {
        while let Some(effect) = self.sup.poll_effect() {
            match effect {
                Effect::Spawn { id, incarnation } => {
                    self.spawns += 1;
                    let now = self.now();
                    self.sup.handle(
                        now,
                        Input::Spawned {
                            id,
                            incarnation,
                            pid: 100 + self.spawns,
                            channel: true,
                        },
                    );
                }
                Effect::Signal {
                    signal, tree, round, ..
                } => {
                    self.signals.push(signal);
                    self.tree_round = tree.then_some(round);
                }
                Effect::AskToStop { .. } => self.asked += 1,
                Effect::Reply { result, .. } => self.replies.push(result),
                Effect::Notify { event, status, .. } => self.seen.push((event, status)),
                Effect::Retire { incarnation, .. } => self.retired.push(incarnation),
                Effect::Probe { round, .. } => self.probe = Some(round),
                Effect::Changed(_) | Effect::Removed(_) => {}
            }
        }
    }

    pub(crate) fn life(&self) -> Incarnation {
        self.sup
            .view(ID)
            .and_then(|view| view.incarnation)
            .unwrap_or(Incarnation(0))
    }

    pub(crate) fn exit(&mut self, exit: Exit) {
        let incarnation = self.life();
        self.input(Input::Exited {
            id: ID,
            incarnation,
            exit,
        });
    }

    pub(crate) fn tree_gone(&mut self) {
        // After its exit the view has no life any more; the round belongs to the life of the record.
        let Some(Phase::Stopping(incarnation, _, _)) = self.sup.restorable(ID).map(|kept| kept.phase) else {
            return;
        };
        if let Some(round) = self.tree_round {
            self.input(Input::TreeGone {
                id: ID,
                incarnation,
                round,
            });
        }
    }

    pub(crate) fn wait(&mut self, ms: u64) {
        self.at += ms;
        let now = self.now();
        self.sup.handle_timeout(now);
        self.drain();
    }

    pub(crate) fn status(&self) -> Option<Status> {
        self.sup.view(ID).map(|view| view.status)
    }

    pub(crate) fn restarts(&self) -> u32 {
        self.sup.view(ID).map_or(0, |view| view.facts.restarts)
    }
}

pub(crate) fn living(incarnation: Incarnation, pid: u32) -> Living {
    Living {
        incarnation,
        pid,
        channel: true,
    }
}

pub(crate) fn quick(policy: Policy) -> Story {
    Story::of(Policy {
        treekill: false,
        ..policy
    })
}
