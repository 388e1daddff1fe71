//! The life of a link as a pure machine: it is told the time and what happened, and says what to do.
//!
//! Invariants: at most one connection is open or being opened; what an older connection still has to say changes
//! nothing; in every state but `Idle` and `Stopped` a deadline is pending, so no silence lasts for ever.

use std::collections::VecDeque;
use std::time::Duration;
use wire::message::RefuseCode;

/// Time since some start, for waiting; never of the wall clock.
pub type Moment = Duration;

/// Opening a connection: names, TCP, TLS and the upgrade together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// From the hello to the hub's word on it.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two signs of life that the hub is asked for.
pub const PING_EVERY: Duration = Duration::from_secs(5);
/// Silence after which a connection counts as dead.
pub const SILENCE_MAX: Duration = Duration::from_secs(15);
/// First and longest pause between two tries. However long a hub was away: 15 s after its return every agent is back, since
/// half of the pause is drawn a thousand of them are some eighty tries a second meanwhile.
pub const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(13));
/// Between two questions whether a refusal still holds.
pub const RECHECK_EVERY: Duration = Duration::from_secs(60);
/// The same while the hub has no place: one that is freed is to be taken within a minute.
pub const PENDING_EVERY: Duration = Duration::from_secs(25);
/// A link must have held this long before its end is answered with the shortest pause again.
pub const STABLE_AFTER: Duration = Duration::from_secs(10);

/// Names one connection; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// Where the link stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not started.
    Idle,
    /// Opening a connection.
    Connecting {
        /// Which one.
        conn: ConnId,
        /// When it is given up.
        until: Moment,
    },
    /// Said hello, waiting for the hub's word.
    Handshaking {
        /// On which connection.
        conn: ConnId,
        /// When it is given up.
        until: Moment,
    },
    /// Accepted.
    Linked {
        /// On which connection.
        conn: ConnId,
        /// Since when.
        since: Moment,
        /// When the hub was last heard.
        heard: Moment,
        /// When the next sign of life is asked for.
        ping_at: Moment,
    },
    /// The last try failed.
    Waiting {
        /// When the next one begins.
        until: Moment,
        /// Why the last one failed.
        cause: String,
    },
    /// The hub refused.
    Refused {
        /// What it said.
        reason: String,
        /// Good keys, but no place at present.
        pending: bool,
        /// When it is asked again.
        until: Moment,
    },
    /// Ended on purpose.
    Stopped,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The user wants the link.
    Start,
    /// The user or the process manager ends it.
    Stop,
    /// What stood in the way may be gone: there is no need to wait on.
    Retry,
    /// The connection is open.
    Opened(ConnId),
    /// The connection could not be opened.
    OpenFailed(ConnId, OpenError),
    /// The hub accepted the hello.
    Welcomed(ConnId),
    /// The hub refused the hello, or later the link.
    Refused(ConnId, RefuseCode, String),
    /// The hub said anything at all.
    Heard(ConnId),
    /// The connection is gone, or had to be closed.
    Closed(ConnId, String),
}

/// Why a connection could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The hub answered the upgrade with another status.
    Status(u16, String),
    /// Anything before that: names, TCP, TLS.
    Failed(String),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status @ (401 | 403), said) => f.write_str(&refusal(*status, said)),
            Self::Status(status, said) => f.write_str(&answered(*status, said)),
            Self::Failed(cause) => f.write_str(cause),
        }
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open a connection.
    Open(ConnId),
    /// Say hello on it.
    Hello(ConnId),
    /// Ask for a sign of life.
    Ping(ConnId),
    /// Close it, or give up opening it.
    Close(ConnId, String),
    /// The state is another one now; show and log it.
    Changed,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Link {
    state: State,
    failures: u32,
    next_conn: u64,
    random: u64,
    effects: VecDeque<Effect>,
}

impl Link {
    /// A link that is not started. `seed` is for the jitter, so that a thousand agents do not come back at once.
    pub fn new(seed: u64) -> Self {
        Self {
            state: State::Idle,
            failures: 0,
            next_conn: 0,
            // Spread, so that alike seeds do not give alike pauses; never zero, where the generator would stay.
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            effects: VecDeque::new(),
        }
    }

    /// Where it stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The connection that is open or being opened.
    pub fn conn(&self) -> Option<ConnId> {
        match self.state {
            State::Connecting { conn, .. } | State::Handshaking { conn, .. } | State::Linked { conn, .. } => {
                Some(conn)
            }
            _ => None,
        }
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Link::handle_timeout`] is to be called.
    pub fn next_deadline(&self) -> Option<Moment> {
        match self.state {
            State::Idle | State::Stopped => None,
            State::Connecting { until, .. }
            | State::Handshaking { until, .. }
            | State::Waiting { until, .. }
            | State::Refused { until, .. } => Some(until),
            State::Linked { heard, ping_at, .. } => Some(ping_at.min(heard + SILENCE_MAX)),
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Moment, input: Input) {
        match input {
            Input::Start if matches!(self.state, State::Idle | State::Stopped) => self.open(now),
            Input::Retry if matches!(self.state, State::Waiting { .. }) => self.open(now),
            Input::Start | Input::Retry => {}
            Input::Stop => {
                self.drop_conn("stopped");
                self.failures = 0;
                self.enter(State::Stopped);
            }
            Input::Opened(conn) => {
                if matches!(self.state, State::Connecting { conn: c, .. } if c == conn) {
                    self.effects.push_back(Effect::Hello(conn));
                    self.enter(State::Handshaking {
                        conn,
                        until: now + HANDSHAKE_TIMEOUT,
                    });
                }
            }
            Input::OpenFailed(conn, error) => {
                if self.conn() == Some(conn) {
                    let cause = error.to_string();
                    match error {
                        OpenError::Status(401 | 403, _) => self.refused(now, cause, false),
                        OpenError::Status(..) | OpenError::Failed(_) => self.wait(now, cause),
                    }
                }
            }
            Input::Welcomed(conn) => {
                if matches!(self.state, State::Handshaking { conn: c, .. } if c == conn) {
                    self.enter(State::Linked {
                        conn,
                        since: now,
                        heard: now,
                        ping_at: now + PING_EVERY,
                    });
                }
            }
            Input::Refused(conn, code, said) => {
                if self.conn() == Some(conn) {
                    self.forgive_if_stable(now);
                    self.drop_conn("refused by the hub");
                    match code {
                        RefuseCode::Unavailable => self.wait(now, said),
                        _ => self.refused(now, said, code == RefuseCode::Pending),
                    }
                }
            }
            Input::Heard(conn) => {
                if let State::Linked { conn: c, heard, .. } = &mut self.state
                    && *c == conn
                {
                    *heard = now;
                }
            }
            Input::Closed(conn, cause) => {
                if self.conn() == Some(conn) {
                    self.forgive_if_stable(now);
                    self.drop_conn(&cause);
                    self.wait(now, cause);
                }
            }
        }
    }

    /// Takes in that it is `now`; nothing happens before the deadline.
    pub fn handle_timeout(&mut self, now: Moment) {
        if self.next_deadline().is_none_or(|at| now < at) {
            return;
        }
        match &mut self.state {
            State::Idle | State::Stopped => {}
            State::Waiting { .. } | State::Refused { .. } => self.open(now),
            State::Connecting { .. } => self.give_up(now, "no connection within 10 s"),
            State::Handshaking { .. } => self.give_up(now, "no welcome within 10 s"),
            State::Linked { heard, .. } if now >= *heard + SILENCE_MAX => {
                self.forgive_if_stable(now);
                self.give_up(now, "the hub was silent for 15 s");
            }
            State::Linked { conn, ping_at, .. } => {
                let conn = *conn;
                *ping_at = now + PING_EVERY;
                self.effects.push_back(Effect::Ping(conn));
            }
        }
    }

    fn open(&mut self, now: Moment) {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        self.effects.push_back(Effect::Open(conn));
        self.enter(State::Connecting {
            conn,
            until: now + CONNECT_TIMEOUT,
        });
    }

    fn give_up(&mut self, now: Moment, cause: &str) {
        self.drop_conn(cause);
        self.wait(now, cause.to_owned());
    }

    fn wait(&mut self, now: Moment, cause: String) {
        let full = BACKOFF
            .0
            .saturating_mul(1 << self.failures.min(16))
            .min(BACKOFF.1);
        self.failures = self.failures.saturating_add(1);
        // Half of the pause is sure, half is drawn.
        let until = now + full / 2 + self.draw(full / 2);
        self.enter(State::Waiting { until, cause });
    }

    fn refused(&mut self, now: Moment, reason: String, pending: bool) {
        let every = if pending { PENDING_EVERY } else { RECHECK_EVERY };
        let until = now + every + self.draw(every / 10);
        self.enter(State::Refused {
            reason,
            pending,
            until,
        });
    }

    fn drop_conn(&mut self, why: &str) {
        if let Some(conn) = self.conn() {
            self.effects.push_back(Effect::Close(conn, why.to_owned()));
        }
    }

    fn forgive_if_stable(&mut self, now: Moment) {
        if matches!(self.state, State::Linked { since, .. } if now >= since + STABLE_AFTER) {
            self.failures = 0;
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.effects.push_back(Effect::Changed);
    }

    /// A random time below `max` (xorshift: enough for jitter).
    fn draw(&mut self, max: Duration) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let share = u32::try_from(self.random >> 44).unwrap_or(0);
        max.saturating_mul(share) / (1 << 20)
    }
}

fn refusal(status: u16, said: &str) -> String {
    match (said, status) {
        ("", 401) => "the hub does not know these keys".to_owned(),
        ("", _) => "the hub does not accept this server".to_owned(),
        (said, _) => said.to_owned(),
    }
}

pub(crate) fn answered(status: u16, said: &str) -> String {
    let hint = match status {
        404 => "; is this the address of a hub?",
        407 => "; a proxy stands in the way",
        426 | 400 => "; something on the way does not let WebSockets through",
        _ => "",
    };
    let said = if said.is_empty() {
        String::new()
    } else {
        format!(" ({said})")
    };
    format!("the hub answered with HTTP status {status}{said}{hint}")
}

#[cfg(test)]
mod tests;
