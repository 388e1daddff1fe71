//! Who tried to link lately, and how far each came: what the page that connects a server shows. Pure.
//!
//! Tries of one agent are one entry, which begins anew with each try. Nothing here is kept over a restart, and nothing depends on it.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::model::{AgentKind, Millis, ServerId, cut};

/// Who did nothing for so long is not shown any more.
const KEPT_FOR: Millis = 15 * 60_000;
/// Agents remembered; the one that was silent longest goes first.
const MAX: usize = 64;
/// Longest name and mark.
const MAX_TEXT: usize = 200;

/// Which agent tries, as far as it can be told before it has said who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Which kind of agent.
    pub kind: AgentKind,
    /// Where it comes from.
    pub address: String,
    /// Ours: the id of its home; PM2's: the name of its server. Whatever it says; empty if nothing.
    pub mark: String,
}

/// One try of one agent; what an earlier one still has to tell changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptId {
    agent: u64,
    tries: u32,
}

/// How far a try came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The way in is open: a socket; or requests, where no socket gets through.
    Open {
        /// Whether it is a socket.
        socket: bool,
    },
    /// It has said who it is.
    Named {
        /// Name of the server.
        name: String,
        /// Host name.
        hostname: String,
    },
    /// It speaks for a server.
    Linked {
        /// Which one.
        server: ServerId,
        /// The host wants no commands, on purpose.
        disabled: bool,
    },
    /// The first data has come.
    Data,
    /// It is not let in.
    Refused(Problem, String),
    /// A way in is closed.
    Ended,
}

/// Why a try failed; the words of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// One key is the bucket's, the other is not.
    WrongKeys,
    /// The bucket takes no agents.
    Closed,
    /// The bucket takes no further server.
    NoPlace,
    /// Its server was deleted or hidden in the dashboard.
    Hidden,
    /// Its Node is too old for its process manager.
    Versions,
    /// It does not speak as it should.
    Protocol,
}

impl Problem {
    fn as_str(self) -> &'static str {
        match self {
            Self::WrongKeys => "wrong_keys",
            Self::Closed => "closed",
            Self::NoPlace => "no_place",
            Self::Hidden => "hidden",
            Self::Versions => "versions",
            Self::Protocol => "protocol",
        }
    }
}

#[derive(Clone, Debug)]
struct Attempt {
    id: u64,
    who: Who,
    name: String,
    hostname: String,
    at: Millis,
    tries: u32,
    keys: bool,
    /// `None`: not open yet.
    socket: Option<bool>,
    /// For which server it speaks, and whether its host wants no commands.
    linked: Option<(ServerId, bool)>,
    data: bool,
    problem: Option<(Problem, String)>,
    /// Ways in that are open: some agents hold several.
    open: u32,
    ended: bool,
}

/// The tries of one bucket, oldest first.
#[derive(Debug, Default)]
pub struct Attempts {
    next: u64,
    list: VecDeque<Attempt>,
}

impl Attempts {
    /// An agent came with the right keys. One that is linked looks after its keys now and then, and one whose keys were looked at
    /// comes to open its socket: those are no new tries.
    pub fn arrived(&mut self, now: Millis, who: Who) -> AttemptId {
        let attempt = self.enter(now, who);
        let goes_on = attempt.keys && attempt.problem.is_none() && !attempt.ended;
        let is_ours = attempt.who.kind == AgentKind::Pilothouse;
        // Ours has one link: another one takes its place.
        if !goes_on || (is_ours && attempt.socket.is_some()) {
            attempt.begin();
            attempt.keys = true;
        }
        AttemptId {
            agent: attempt.id,
            tries: attempt.tries,
        }
    }

    /// An agent came and was refused before it said anything.
    pub fn refused(&mut self, now: Millis, who: Who, problem: Problem, message: &str) {
        let attempt = self.enter(now, who);
        attempt.begin();
        attempt.keys = problem != Problem::WrongKeys;
        attempt.problem = Some((problem, message.to_owned()));
    }

    /// A try came further, or to its end.
    pub fn step(&mut self, now: Millis, id: AttemptId, step: Step) {
        let is_it = |attempt: &&mut Attempt| attempt.id == id.agent && attempt.tries == id.tries;
        let Some(attempt) = self.list.iter_mut().find(is_it) else {
            return;
        };
        attempt.at = now;
        match step {
            Step::Open { socket } => {
                attempt.socket = Some(socket);
                attempt.open += 1;
                attempt.ended = false;
            }
            Step::Named { name, hostname } => {
                attempt.name = cut(&name, MAX_TEXT).to_owned();
                attempt.hostname = cut(&hostname, MAX_TEXT).to_owned();
            }
            Step::Linked { server, disabled } => {
                attempt.problem = None;
                attempt.linked = Some((server, disabled));
            }
            Step::Data => attempt.data = true,
            Step::Refused(problem, message) => attempt.problem = Some((problem, message)),
            Step::Ended => {
                attempt.open = attempt.open.saturating_sub(1);
                attempt.ended = attempt.open == 0;
            }
        }
    }

    /// What is known of each; `now_of` tells of a server how many go by its name, itself included, and whether commands can get there.
    pub fn to_json(&mut self, now: Millis, now_of: impl Fn(ServerId) -> (usize, bool)) -> Value {
        self.list
            .retain(|attempt| now.saturating_sub(attempt.at) < KEPT_FOR || (attempt.data && !attempt.ended));
        self.list
            .iter()
            .map(|a| {
                let linked = a.linked.as_ref();
                let (same_name, commands) = linked.map(|(server, _)| now_of(*server)).unwrap_or_default();
                json!({
                    "id": a.id,
                    "agent": a.who.kind.as_str(),
                    "address": a.who.address,
                    "name": a.name,
                    "hostname": a.hostname,
                    "at": a.at,
                    "tries": a.tries,
                    "keys": a.keys,
                    "socket": a.socket,
                    "server": linked.map(|(server, _)| server.to_string()),
                    "data": a.data,
                    "commands": commands,
                    "commands_disabled": linked.is_some_and(|(_, disabled)| *disabled),
                    "same_name": same_name,
                    "problem": a.problem.as_ref().map(|(problem, message)| {
                        json!({ "code": problem.as_str(), "message": message })
                    }),
                    "ended": a.ended,
                })
            })
            .collect()
    }

    /// The entry of that agent, last in the list from now on.
    fn enter(&mut self, now: Millis, mut who: Who) -> &mut Attempt {
        who.mark = cut(&who.mark, MAX_TEXT).to_owned();
        // Who only asked how it would fare has told no mark: that is one with the tries of the same address that had wrong keys.
        let same = |attempt: &Attempt| {
            let unmarked = attempt.who.mark.is_empty() || who.mark.is_empty();
            let strayed = attempt
                .problem
                .as_ref()
                .is_some_and(|(p, _)| *p == Problem::WrongKeys);
            attempt.who == who
                || (unmarked
                    && strayed
                    && (attempt.who.kind, &attempt.who.address) == (who.kind, &who.address))
        };
        let known = self.list.iter().position(same);
        let attempt = match known.and_then(|at| self.list.remove(at)) {
            Some(mut attempt) => {
                if !who.mark.is_empty() {
                    attempt.who = who;
                }
                attempt
            }
            None => {
                self.next += 1;
                Attempt {
                    id: self.next,
                    name: match who.kind {
                        AgentKind::Pm2 => who.mark.clone(),
                        AgentKind::Pilothouse => String::new(),
                    },
                    who,
                    hostname: String::new(),
                    at: now,
                    tries: 0,
                    keys: false,
                    socket: None,
                    linked: None,
                    data: false,
                    problem: None,
                    open: 0,
                    ended: false,
                }
            }
        };
        while self.list.len() >= MAX {
            self.list.pop_front();
        }
        self.list.push_back(attempt);
        let last = self.list.len() - 1;
        let attempt = &mut self.list[last];
        attempt.at = now;
        attempt
    }
}

impl Attempt {
    fn begin(&mut self) {
        self.tries = self.tries.saturating_add(1);
        self.socket = None;
        self.linked = None;
        self.data = false;
        self.problem = None;
        self.open = 0;
        self.ended = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(mark: &str) -> Who {
        Who {
            kind: AgentKind::Pilothouse,
            address: "10.0.0.1".into(),
            mark: mark.into(),
        }
    }

    fn shown(attempts: &mut Attempts, now: Millis) -> Vec<Value> {
        attempts.to_json(now, |_| (1, true)).as_array().unwrap().clone()
    }

    fn server() -> ServerId {
        ServerId::fresh(1)
    }

    #[test]
    fn a_try_is_followed_step_by_step() {
        let mut attempts = Attempts::default();
        let id = attempts.arrived(1, who("m"));
        let seen = |attempts: &mut Attempts| shown(attempts, 10)[0].clone();
        assert_eq!(seen(&mut attempts)["keys"], true);
        assert_eq!(seen(&mut attempts)["socket"], Value::Null);
        attempts.step(2, id, Step::Open { socket: true });
        assert_eq!(seen(&mut attempts)["socket"], true);
        attempts.step(
            3,
            id,
            Step::Named {
                name: "web".into(),
                hostname: "h".into(),
            },
        );
        let linked = Step::Linked {
            server: server(),
            disabled: false,
        };
        attempts.step(4, id, linked);
        assert_eq!(seen(&mut attempts)["data"], false);
        attempts.step(5, id, Step::Data);
        let last = seen(&mut attempts);
        assert_eq!(
            (&last["name"], &last["data"], &last["commands"]),
            (&"web".into(), &true.into(), &true.into())
        );
        assert_eq!(last["at"], 5);
    }

    #[test]
    fn wrong_keys_and_then_right_ones_are_one_entry() {
        let mut attempts = Attempts::default();
        attempts.refused(1, who("m"), Problem::WrongKeys, "no");
        attempts.refused(2, who("m"), Problem::WrongKeys, "no");
        let list = shown(&mut attempts, 3);
        assert_eq!((list.len(), &list[0]["tries"]), (1, &2.into()));
        assert_eq!(
            (&list[0]["keys"], &list[0]["problem"]["code"]),
            (&false.into(), &"wrong_keys".into())
        );
        // To ask how one would fare is no try of another agent.
        attempts.refused(2, who(""), Problem::WrongKeys, "no");
        attempts.arrived(3, who("m"));
        let list = shown(&mut attempts, 3);
        assert_eq!((list.len(), &list[0]["problem"]), (1, &Value::Null));
    }

    #[test]
    fn an_agent_of_pm2_looks_after_its_keys_and_holds_several_sockets() {
        let mut attempts = Attempts::default();
        let pm2 = || Who {
            kind: AgentKind::Pm2,
            ..who("web")
        };
        let verified = attempts.arrived(1, pm2());
        let id = attempts.arrived(2, pm2());
        assert_eq!(verified, id, "the socket goes on with the try of the keys");
        attempts.step(2, id, Step::Open { socket: true });
        attempts.step(2, id, Step::Data);
        assert_eq!(attempts.arrived(60_000, pm2()), id);
        attempts.step(60_000, id, Step::Open { socket: true });
        attempts.step(61_000, id, Step::Ended);
        let one = shown(&mut attempts, 61_000)[0].clone();
        assert_eq!((&one["data"], &one["ended"]), (&true.into(), &false.into()));
        attempts.step(62_000, id, Step::Ended);
        assert_eq!(shown(&mut attempts, 62_000)[0]["ended"], true);
        assert_ne!(attempts.arrived(63_000, pm2()), id);
        assert_eq!(shown(&mut attempts, 63_000)[0]["data"], false);
    }

    #[test]
    fn what_an_earlier_link_still_tells_is_not_told_of_the_next() {
        let mut attempts = Attempts::default();
        let former = attempts.arrived(1, who("m"));
        attempts.step(1, former, Step::Open { socket: true });
        let id = attempts.arrived(2, who("m"));
        attempts.step(2, id, Step::Open { socket: false });
        attempts.step(3, former, Step::Ended);
        let one = shown(&mut attempts, 3)[0].clone();
        assert_eq!((&one["socket"], &one["ended"]), (&false.into(), &false.into()));
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_time() {
        let mut attempts = Attempts::default();
        for n in 0..10 * MAX {
            attempts.refused(n as Millis, who(&n.to_string()), Problem::WrongKeys, "no");
        }
        assert_eq!(shown(&mut attempts, 1000).len(), MAX);
        assert!(shown(&mut attempts, 1000 + KEPT_FOR).is_empty());
    }
}
