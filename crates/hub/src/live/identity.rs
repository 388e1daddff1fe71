//! Which server is this? Pure.
//!
//! A name is only a label. Our agent brings a stored id; a copy of a machine's image shows the same id, and is told
//! apart by being alive at the same time on another boot or host.
//! PM2's agents store nothing and make a new random id at each start, so a newcomer is compared with what is known:
//! the id, then the unique ids of its processes (they outlive the agent), then name, host and user. A newcomer
//! that looks like a server which still talks is kept waiting until the other either falls silent (it was a restart)
//! or speaks again (it is a second server).

use std::collections::BTreeSet;

use super::model::{AgentKind, Millis, ServerId};
use super::server::{Identity, Server};

/// How long a newcomer waits to see whether its look-alike still talks.
pub const SETTLE: Millis = 3_000;
/// A report of the look-alike so soon after the newcomer's first may have been under way already.
const OVERLAP: Millis = 700;
/// Links that carried nothing for so long do not make their server alive.
const TALKING: Millis = 2_500;

/// What a new link tells about whom it speaks for.
#[derive(Clone, Debug)]
pub enum Newcomer {
    /// Our agent's greeting.
    Machine {
        /// Name of the server.
        name: String,
        /// Host name.
        hostname: String,
        /// User the agent runs as.
        username: Option<String>,
        /// One `$PM2_HOME` on one machine.
        machine: String,
        /// Boot and host: differs between copies of one image, not between agents of one machine.
        incarnation: String,
        /// When its user linked it, by the hub's clock; 0 when not told.
        linked_at: Millis,
    },
    /// The first status of a PM2 agent.
    Told {
        /// When its first status came.
        since: Millis,
        /// Machine name.
        name: String,
        /// Host name.
        hostname: String,
        /// User the agent runs as.
        username: Option<String>,
        /// Random id of the agent process.
        unique_id: Option<String>,
        /// Unique ids of its processes.
        processes: BTreeSet<String>,
        /// `Some(true)`: the agent was started by `pm2 link`; `Some(false)`: with its daemon; `None`: not known yet.
        relinked: Option<bool>,
    },
}

/// What to do with a newcomer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is this server.
    Known(ServerId),
    /// It is this server, which PM2's agent reported before our daemon took that home over; it gets this identity.
    Adopted(ServerId, Identity),
    /// Nobody knows it; make a server with this identity.
    New(Identity),
    /// Ask again with its next report.
    Wait,
    /// It is this server, which is hidden until it is linked anew.
    Hidden(ServerId),
    /// It would be one server more than the bucket takes.
    NoPlace,
}

/// Decides for whom `newcomer` speaks.
pub(super) fn decide<'a>(
    now: Millis,
    servers: impl Iterator<Item = &'a Server> + Clone,
    newcomer: &Newcomer,
) -> Decision {
    match newcomer {
        Newcomer::Machine {
            name,
            hostname,
            username,
            machine,
            incarnation,
            linked_at,
        } => match decide_machine(now, servers.clone(), machine, incarnation, *linked_at) {
            Decision::New(identity @ Identity::Machine { copy: None, .. }) => {
                let before = servers
                    .filter(|s| took_over(s, name, hostname, username.as_deref()))
                    .max_by_key(|s| s.last_seen);
                match before {
                    Some(server) if server.hidden && *linked_at <= server.hidden_at => {
                        Decision::Hidden(server.id)
                    }
                    Some(server) => Decision::Adopted(server.id, identity),
                    None => Decision::New(identity),
                }
            }
            decision => decision,
        },
        Newcomer::Told { .. } => decide_told(now, servers, newcomer),
    }
}

fn decide_machine<'a>(
    now: Millis,
    servers: impl Iterator<Item = &'a Server> + Clone,
    machine: &str,
    incarnation: &str,
    linked_at: Millis,
) -> Decision {
    let same = servers.filter_map(|s| match &s.identity {
        Identity::Machine { machine: known, copy } if known == machine => Some((copy.as_deref(), s)),
        _ => None,
    });
    let admit = |server: &Server| {
        if server.hidden && linked_at <= server.hidden_at {
            Decision::Hidden(server.id)
        } else {
            Decision::Known(server.id)
        }
    };
    // The copy that was told apart before stays apart.
    if let Some((_, server)) = same.clone().find(|(copy, _)| *copy == Some(incarnation)) {
        return admit(server);
    }
    let new = |copy| {
        Decision::New(Identity::Machine {
            machine: machine.to_owned(),
            copy,
        })
    };
    match same.clone().find(|(copy, _)| copy.is_none()) {
        None => new(None),
        Some((_, server))
            if server.facts.unique_id.as_deref() == Some(incarnation) || !talking(now, server) =>
        {
            admit(server)
        }
        Some(_) => new(Some(incarnation.to_owned())),
    }
}

/// Whether this is a server of PM2's agent that is gone, and has just this name, host and user: `update` puts our daemon into the
/// place of theirs, with the same stored link.
fn took_over(server: &Server, name: &str, hostname: &str, username: Option<&str>) -> bool {
    server.kind == AgentKind::Pm2
        && !server.is_linked()
        && server.name == name
        && server.facts.hostname == hostname
        // Their agent takes the user from its environment, where there may be none.
        && server.facts.username.as_deref().is_none_or(|user| Some(user) == username)
}

fn decide_told<'a>(
    now: Millis,
    servers: impl Iterator<Item = &'a Server> + Clone,
    newcomer: &Newcomer,
) -> Decision {
    let Newcomer::Told {
        since,
        name,
        hostname,
        username,
        unique_id,
        processes,
        relinked,
    } = newcomer
    else {
        return Decision::Wait;
    };
    let known = servers.filter(|s| s.kind == AgentKind::Pm2);
    if let Some(server) = known
        .clone()
        .find(|s| unique_id.as_ref().is_some_and(|id| s.agents.contains(id)))
    {
        return if server.hidden {
            Decision::Hidden(server.id)
        } else {
            Decision::Known(server.id)
        };
    }

    // Two agents of one daemon report the very same processes; two daemons never do.
    let here = known.filter(|s| s.facts.hostname == *hostname && s.facts.username == *username);
    let shared = |s: &Server| {
        s.processes
            .values()
            .filter_map(|e| e.now.facts.unique_id.as_ref())
            .any(|id| processes.contains(id))
    };
    let mut waiting = None;
    let mut candidates: Vec<_> = here
        .map(|s| (shared(s), s.name == *name, s))
        .filter(|(shared, named, _)| *shared || *named)
        .collect();
    candidates.sort_by_key(|(shared, named, s)| std::cmp::Reverse((*shared, *named, s.last_seen)));
    for (shared, _, server) in candidates {
        if server.hidden {
            match relinked {
                Some(true) => return Decision::Known(server.id),
                Some(false) => return Decision::Hidden(server.id),
                None => return Decision::Wait,
            }
        }
        if shared || !talking(now, server) {
            return Decision::Known(server.id);
        }
        let spoke_since = server
            .links
            .values()
            .filter_map(|l| l.last_report)
            .any(|at| at > since + OVERLAP);
        if spoke_since {
            continue; // Both talk: two servers.
        }
        if now.saturating_sub(*since) < SETTLE {
            waiting = Some(Decision::Wait);
        } else {
            return Decision::Known(server.id);
        }
    }
    waiting.unwrap_or(Decision::New(Identity::Told))
}

/// Whether one of its links carried a report a moment ago.
fn talking(now: Millis, server: &Server) -> bool {
    server
        .links
        .values()
        .filter_map(|l| l.last_report)
        .any(|at| now.saturating_sub(at) < TALKING)
}
