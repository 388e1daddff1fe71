//! A world for the supervisor: a malicious kernel (it delays, reorders and duplicates what it tells), a keeper that
//! holds children and records, a shell that may die between any two effects, and a clock that jumps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use supervisor::{
    Command, Effect, Event, Exit, HealthRules, Incarnation, Input, Living, Mono, Now, Policy, ProcId,
    Refusal, ReloadFailure, Restored, Supervisor, Ticket,
};

/// SplitMix64: the whole run follows from one seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }
}

#[derive(Clone, Copy, Debug)]
struct Child {
    id: ProcId,
    pid: u32,
    /// Set once it has ended; kept until the shell has taken note.
    ended: Option<Exit>,
    /// Ends by itself then.
    dies_at: u64,
    deaf: bool,
    undead_until: u64,
    tree_gone_at: u64,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) dice: Dice,
    pub(crate) sup: Supervisor,
    pub(crate) at: u64,
    wall_offset: i64,
    children: BTreeMap<Incarnation, Child>,
    records: BTreeMap<ProcId, (Policy, Restored)>,
    /// The rules of each life, as the shell keeps them.
    rules: BTreeMap<Incarnation, Policy>,
    /// What is on its way to the supervisor, by arrival.
    mail: BTreeMap<(u64, u64), Input>,
    mail_number: u64,
    next_ticket: u64,
    waiting: BTreeSet<Ticket>,
    pub(crate) answered: u64,
    /// Processes whose last accepted word was stop or delete.
    down: BTreeSet<ProcId>,
    last_incarnation: u64,
    pub(crate) calm: bool,
    pub(crate) crashes: u64,
    /// Reloads whose new life came up, and those whose new life did not.
    pub(crate) reloaded: u64,
    pub(crate) rolled_back: u64,
}

const IDS: u64 = 4;

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            dice: Dice(seed),
            sup: Supervisor::new(Incarnation(1)),
            at: 1_000,
            wall_offset: 1_700_000_000_000,
            children: BTreeMap::new(),
            records: BTreeMap::new(),
            rules: BTreeMap::new(),
            mail: BTreeMap::new(),
            mail_number: 0,
            next_ticket: 0,
            waiting: BTreeSet::new(),
            answered: 0,
            down: BTreeSet::new(),
            last_incarnation: 0,
            calm: false,
            crashes: 0,
            reloaded: 0,
            rolled_back: 0,
        }
    }

    fn now(&self) -> Now {
        let wall_ms = self.wall_offset + i64::try_from(self.at).unwrap_or(i64::MAX);
        Now {
            mono: Mono(self.at),
            wall_ms,
        }
    }

    fn post(&mut self, input: Input) {
        let copies = if self.dice.one_in(8) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = if self.dice.one_in(4) {
                self.dice.roll(4_000)
            } else {
                self.dice.roll(3)
            };
            self.mail_number += 1;
            self.mail
                .insert((self.at + delay, self.mail_number), input.clone());
        }
    }

    fn policy(&mut self) -> Policy {
        let dice = &mut self.dice;
        let some_wait = |dice: &mut Dice| dice.one_in(3).then(|| Duration::from_millis(dice.roll(3_000)));
        Policy {
            autostart: !dice.one_in(6),
            autorestart: !dice.one_in(5),
            max_restarts: u32::try_from(dice.roll(6)).unwrap_or(0) + 1,
            min_uptime: Duration::from_millis(100 + dice.roll(2_000)),
            restart_delay: some_wait(dice),
            exp_backoff: some_wait(dice),
            kill_timeout: Duration::from_millis(dice.roll(3_000)),
            stop_exit_codes: if dice.one_in(4) { vec![0, 7] } else { Vec::new() },
            max_memory: dice.one_in(3).then_some(1_000),
            wait_ready: dice.one_in(3),
            treekill: !dice.one_in(3),
            shutdown_with_message: dice.one_in(4),
            overlap: dice.one_in(2),
            tells_boot: dice.one_in(3),
            health: dice.one_in(3).then(|| HealthRules {
                interval: Duration::from_millis(1_000 + dice.roll(5_000)),
                timeout: Duration::from_millis(dice.roll(1_000)),
                retries: u32::try_from(dice.roll(4)).unwrap_or(1),
                start_period: Duration::from_millis(dice.roll(2_000)),
                restart: dice.one_in(2),
            }),
            graceful_timeout: Duration::from_millis(dice.roll(5_000)),
            ..Policy::default()
        }
    }

    /// A user does something.
    pub(crate) fn meddle(&mut self) {
        let id = ProcId(u32::try_from(self.dice.roll(IDS)).unwrap_or(0));
        let command = match self.dice.roll(11) {
            0 | 1 => {
                let policy = self.policy();
                Command::Add {
                    id,
                    policy: Box::new(policy),
                }
            }
            2 => Command::Start(id),
            3 | 4 => Command::Stop(id),
            5 => Command::Restart { id, policy: None },
            6 | 9 | 10 => self.reload(id),
            7 => Command::Delete(id),
            _ => Command::Reset(id),
        };
        match command {
            Command::Stop(_) | Command::Delete(_) => {
                self.down.insert(id);
            }
            Command::Reset(_) => {}
            _ => {
                self.down.remove(&id);
            }
        }
        let ticket = (!self.dice.one_in(5)).then(|| {
            self.next_ticket += 1;
            Ticket(self.next_ticket)
        });
        self.waiting.extend(ticket);
        let now = self.now();
        self.sup.handle(now, Input::Command { ticket, command });
        self.carry_out();
    }

    /// Sometimes with new rules.
    fn reload(&mut self, id: ProcId) -> Command {
        let policy = self.dice.one_in(2).then(|| Box::new(self.policy()));
        Command::Reload {
            id,
            policy,
            soft: self.dice.one_in(3),
        }
    }

    /// Let time pass until something is due (at most `most`), and tell it.
    pub(crate) fn pass(&mut self, most: u64) {
        let due = [
            self.mail.keys().next().map(|(at, _)| *at),
            self.sup.next_deadline().map(|at| at.0),
            self.children
                .values()
                .filter(|child| child.ended.is_none())
                .map(|child| child.dies_at)
                .min(),
        ];
        let next = due.into_iter().flatten().min().unwrap_or(u64::MAX);
        self.at = next.clamp(self.at, self.at.saturating_add(most));
        if !self.calm && self.dice.one_in(50) {
            self.at += self.dice.roll(100_000);
        }
        if !self.calm && self.dice.one_in(20) {
            self.wall_offset += i64::try_from(self.dice.roll(20_000_000)).unwrap_or(0) - 10_000_000;
        }
        let dying: Vec<_> = self
            .children
            .iter()
            .filter(|(_, child)| child.ended.is_none() && child.dies_at <= self.at)
            .map(|(incarnation, _)| *incarnation)
            .collect();
        for incarnation in dying {
            let exit = match self.dice.roll(4) {
                0 => Exit::Signal(9),
                1 => Exit::Code(0),
                _ => Exit::Code(1),
            };
            self.end(incarnation, exit);
        }
        while let Some((&key, _)) = self.mail.iter().next().filter(|((at, _), _)| *at <= self.at) {
            let Some(input) = self.mail.remove(&key) else {
                break;
            };
            let now = self.now();
            let ended = match &input {
                Input::Exited { incarnation, .. } => Some(*incarnation),
                _ => None,
            };
            self.sup.handle(now, input);
            if self.carry_out() {
                return;
            }
            if let Some(incarnation) = ended {
                self.children.remove(&incarnation);
            }
        }
        let now = self.now();
        self.sup.handle_timeout(now);
        self.carry_out();
    }

    fn end(&mut self, incarnation: Incarnation, exit: Exit) {
        let Some(child) = self.children.get_mut(&incarnation) else {
            return;
        };
        if child.ended.is_some() {
            return;
        }
        child.ended = Some(exit);
        let id = child.id;
        self.post(Input::Exited {
            id,
            incarnation,
            exit,
        });
    }

    /// Do what the supervisor asks. Returns whether the shell died meanwhile.
    fn carry_out(&mut self) -> bool {
        while let Some(effect) = self.sup.poll_effect() {
            if !self.calm && self.dice.one_in(400) {
                self.crash();
                return true;
            }
            self.effect(effect);
        }
        false
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn { id, incarnation } => self.spawn(id, incarnation),
            Effect::Signal {
                id,
                incarnation,
                signal,
                tree,
                round,
                ..
            } => {
                if let Some(child) = self
                    .children
                    .get_mut(&incarnation)
                    .filter(|child| child.ended.is_none())
                {
                    let heard = signal == 9 && child.undead_until <= self.at || signal != 9 && !child.deaf;
                    if heard {
                        let delay = self.dice.roll(50);
                        self.children.entry(incarnation).and_modify(|child| {
                            child.dies_at = child.dies_at.min(self.at + delay);
                        });
                    }
                }
                if tree {
                    let gone = self
                        .children
                        .get(&incarnation)
                        .map_or(self.at, |child| child.tree_gone_at);
                    if signal == 9 || gone <= self.at || self.dice.one_in(2) {
                        self.post(Input::TreeGone {
                            id,
                            incarnation,
                            round,
                        });
                    }
                    if self.dice.one_in(10) {
                        self.post(Input::TreeGone {
                            id,
                            incarnation,
                            round: round.wrapping_sub(1),
                        });
                    }
                }
            }
            Effect::AskToStop { incarnation, .. } => {
                let at = self.at;
                if let Some(child) = self.children.get_mut(&incarnation)
                    && !child.deaf
                {
                    child.dies_at = child.dies_at.min(at + 20);
                }
            }
            Effect::Retire { id, incarnation } => {
                // While the shell carries this out it may have begun to end that life for good.
                let known = self.sup.lives(id).any(|life| life == incarnation);
                assert!(known, "seed {}: not what a reload replaces", self.seed);
                // It finishes what it has begun, closes its channel, and most then end by themselves.
                let at = self.at;
                let (work, deaf) = (self.dice.roll(4_000), self.dice.one_in(3));
                if let Some(child) = self.children.get_mut(&incarnation)
                    && !child.deaf
                {
                    if !deaf {
                        child.dies_at = child.dies_at.min(at + work);
                    }
                    self.mail_number += 1;
                    let closed = Input::ChannelClosed { id, incarnation };
                    self.mail.insert((at + work, self.mail_number), closed);
                }
            }
            Effect::Probe {
                id,
                incarnation,
                round,
            } => {
                let good = self.calm || !self.dice.one_in(3);
                let answer = Input::Probed {
                    id,
                    incarnation,
                    round,
                    good,
                };
                if self.calm {
                    // All is well now, or it would be restarted for ever; and an answer that is late is a bad one.
                    self.mail_number += 1;
                    self.mail.insert((self.at, self.mail_number), answer);
                } else if !self.dice.one_in(10) {
                    self.post(answer);
                }
            }
            Effect::Reply { ticket, result } => {
                assert!(
                    self.waiting.remove(&ticket),
                    "seed {}: a second reply to {ticket:?}",
                    self.seed
                );
                self.answered += u64::from(result != Err(Refusal::Superseded));
            }
            Effect::Notify { id, event, .. } => {
                let replaces = self.sup.view(id).is_some_and(|view| view.former.is_some());
                self.reloaded += u64::from(event == Event::Online && replaces);
                if let Event::ReloadFailed(cause) = event {
                    self.rolled_back += 1;
                    let kept = self.sup.lives(id).next().and_then(|life| self.rules.get(&life));
                    assert_eq!(self.sup.policy(id), kept, "seed {}: rules of {id:?}", self.seed);
                    let left = self.sup.view(id).and_then(|view| view.former);
                    assert_eq!(
                        left.is_some(),
                        matches!(cause, ReloadFailure::Unhealthy | ReloadFailure::Broken),
                        "seed {}",
                        self.seed
                    );
                }
            }
            Effect::Changed(id) => {
                if let (Some(restored), Some(policy)) = (self.sup.restorable(id), self.sup.policy(id)) {
                    self.records.insert(id, (policy.clone(), restored));
                    self.rules
                        .extend(self.sup.lives(id).next().map(|life| (life, policy.clone())));
                }
            }
            Effect::Removed(id) => {
                self.records.remove(&id);
                assert_eq!(self.living(id), 0, "seed {}: {id:?} was removed alive", self.seed);
            }
        }
    }

    fn spawn(&mut self, id: ProcId, incarnation: Incarnation) {
        let seed = self.seed;
        assert!(
            incarnation.0 > self.last_incarnation,
            "seed {seed}: {incarnation:?} was used before"
        );
        self.last_incarnation = incarnation.0;
        assert!(
            !self.down.contains(&id),
            "seed {seed} at {}: {id:?} came back by itself",
            self.at
        );
        let recorded = self.records.get(&id).map(|(_, restored)| restored.phase);
        assert_eq!(
            recorded,
            Some(supervisor::Phase::Launching(incarnation, None)),
            "seed {seed}: spawned before it was kept"
        );
        if self.dice.one_in(10) {
            let transient = self.dice.one_in(2);
            return self.post(Input::SpawnFailed {
                id,
                incarnation,
                transient,
            });
        }
        let life = match self.dice.roll(4) {
            _ if self.calm => u64::MAX / 2,
            0 => self.dice.roll(5),
            1 => self.dice.roll(1_000),
            _ => self.dice.roll(60_000),
        };
        let undead = if !self.calm && self.dice.one_in(12) {
            self.dice.roll(10_000)
        } else {
            0
        };
        let pid = u32::try_from(1_000 + incarnation.0 % 50).unwrap_or(1);
        let child = Child {
            id,
            pid,
            ended: None,
            dies_at: self.at.saturating_add(life),
            deaf: self.dice.one_in(4),
            undead_until: self.at + undead,
            tree_gone_at: self.at + self.dice.roll(3_000),
        };
        self.children.insert(incarnation, child);
        let reloading = self.sup.view(id).is_some_and(|view| view.former.is_some());
        assert!(
            self.living(id) <= 1 + usize::from(reloading),
            "seed {seed} at {}: {} lives of {id:?}",
            self.at,
            self.living(id)
        );
        let channel = self.dice.one_in(2);
        self.post(Input::Spawned {
            id,
            incarnation,
            pid,
            channel,
        });
        if self.dice.one_in(2) {
            self.post(Input::Ready { id, incarnation });
        }
        if self.dice.one_in(2) {
            self.post(Input::Listening { id, incarnation });
        }
        if self.dice.one_in(2) {
            self.post(Input::Booted { id, incarnation });
        }
        if !self.calm && self.dice.one_in(6) {
            self.post(Input::Broken { id, incarnation });
        }
        if self.dice.one_in(5) {
            self.post(Input::ChannelClosed { id, incarnation });
        }
        if self.dice.one_in(5) {
            self.post(Input::Memory {
                id,
                incarnation,
                rss: 2_000,
            });
        }
    }

    /// The shell dies: what was in its head is lost, a new one reads the keeper.
    fn crash(&mut self) {
        self.crashes += 1;
        self.waiting.clear();
        self.mail.clear();
        self.sup = Supervisor::new(Incarnation(1));
        for incarnation in self.children.keys() {
            self.sup.reserve(*incarnation);
        }
        // Removed entries leave no record; the shell also asks the keeper for the highest key it ever saw.
        self.sup.reserve(Incarnation(self.last_incarnation));
        let now = self.now();
        for (id, (policy, restored)) in self.records.clone() {
            let alive: Vec<_> = self
                .children
                .iter()
                .filter(|(_, child)| child.id == id)
                .map(|(incarnation, child)| Living {
                    incarnation: *incarnation,
                    pid: child.pid,
                    channel: incarnation.0 % 2 == 0,
                })
                .collect();
            let former = restored
                .former
                .and_then(|life| self.rules.get(&life.incarnation).cloned());
            assert!(self.sup.adopt(now, id, policy, former, restored, &alive));
        }
        let ended: Vec<_> = self
            .children
            .iter()
            .filter_map(|(incarnation, child)| child.ended.map(|exit| (child.id, *incarnation, exit)))
            .collect();
        for (id, incarnation, exit) in ended {
            self.post(Input::Exited {
                id,
                incarnation,
                exit,
            });
        }
        // A command whose effects were lost half way was never answered; its caller starts over.
        self.down.clear();
        self.carry_out();
    }

    pub(crate) fn living(&self, id: ProcId) -> usize {
        self.children
            .values()
            .filter(|child| child.id == id && child.ended.is_none())
            .count()
    }

    /// Nobody meddles any more and the kernel is kind: everything must come to rest, and agree.
    pub(crate) fn come_to_rest(&mut self) {
        self.calm = true;
        for child in self.children.values_mut() {
            child.undead_until = 0;
            child.dies_at = child.dies_at.max(self.at);
        }
        for _ in 0..1_500 {
            self.pass(100_000);
        }
        let seed = self.seed;
        assert!(
            self.waiting.is_empty(),
            "seed {seed}: no reply to {:?}",
            self.waiting
        );
        for id in self.sup.ids().collect::<Vec<_>>() {
            let Some(view) = self.sup.view(id) else {
                panic!("seed {seed}: {id:?} has no view")
            };
            assert_eq!(view.former, None, "seed {seed}: the reload of {id:?} never ends");
            let alive: Vec<_> = self
                .children
                .iter()
                .filter(|(_, c)| c.id == id && c.ended.is_none())
                .collect();
            match view.status {
                supervisor::Status::Online => {
                    assert_eq!(alive.len(), 1, "seed {seed}: {id:?} is online without a life");
                    assert_eq!(view.incarnation, Some(*alive[0].0), "seed {seed}");
                    assert_eq!(view.pid, Some(alive[0].1.pid), "seed {seed}");
                }
                supervisor::Status::Stopped => {
                    assert!(alive.is_empty(), "seed {seed}: {id:?} stopped but alive");
                }
                supervisor::Status::Errored => {}
                other => panic!("seed {seed}: {id:?} hangs in {other:?}"),
            }
            let kept = self.records.get(&id).map(|(_, restored)| *restored);
            assert_eq!(
                kept,
                self.sup.restorable(id),
                "seed {seed}: the kept record of {id:?} is old"
            );
        }
    }
}
