//! How a hub is started.

use std::path::PathBuf;
use std::time::Duration;

use crate::proxies::Proxies;

/// Everything that the operator decides before the start.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// The data folder; made when missing.
    pub data: PathBuf,
    /// `ADDR:PORT` to listen on; port 0 takes a free one.
    pub listen: String,
    /// Further addresses for agents, where data and commands are to take ports of their own; both or none.
    pub separate: Option<SeparatePorts>,
    /// Print the start facts as one JSON line instead of text.
    pub json: bool,
    /// How browsers and agents reach this hub, when it is not how they say (`https://hub.example.org`, no slash at
    /// the end). Without it, the address of each request is used.
    pub public_url: Option<String>,
    /// Proxies in front of it, whose word on where a request came from counts.
    pub proxies: Proxies,
    /// Where people turn with what the help does not answer; shown in the dashboard.
    pub support_url: Option<String>,
    /// The first owner, when the data folder is new.
    pub owner: OwnerPreset,
    /// How long an access token lives.
    pub access_ttl: Duration,
    /// Anybody may make an account.
    pub registration: bool,
    /// What is kept, and how long.
    pub retention: Retention,
}

/// Ports of their own for data and commands, as PM2 had them before it needed but one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeparatePorts {
    /// Where data comes in.
    pub push: ExtraPort,
    /// Where agents fetch commands.
    pub reverse: ExtraPort,
}

/// One more address that a hub listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraPort {
    /// `ADDR:PORT`; port 0 takes a free one.
    pub listen: String,
    /// How agents reach it, if not by the name of the hub and this port (`https://push.example.org`, no slash at the end).
    pub url: Option<String>,
}

/// The account that a first start makes.
#[derive(Clone, Default)]
pub struct OwnerPreset {
    /// E-mail address; `owner@localhost` without.
    pub email: Option<String>,
    /// Password; one is made up and printed once without.
    pub password: Option<String>,
}

impl std::fmt::Debug for OwnerPreset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnerPreset")
            .field("email", &self.email)
            .finish_non_exhaustive()
    }
}

/// How long each fineness of history is kept, and how much disk it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Samples as they were measured.
    pub raw: Duration,
    /// Steps of 10 seconds.
    pub ten_seconds: Duration,
    /// Steps of one minute.
    pub minutes: Duration,
    /// Steps of one hour.
    pub hours: Duration,
    /// Events.
    pub events: Duration,
    /// Bytes that history may take on disk; the oldest goes first.
    pub disk_bytes: u64,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Default for Retention {
    fn default() -> Self {
        Self {
            raw: DAY,
            ten_seconds: DAY.saturating_mul(3),
            minutes: DAY.saturating_mul(14),
            hours: DAY.saturating_mul(400),
            events: DAY.saturating_mul(14),
            disk_bytes: 10 << 30,
        }
    }
}

impl HubOptions {
    /// A hub in this folder on a free loopback port, all else as usual.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            listen: "127.0.0.1:0".into(),
            separate: None,
            json: false,
            public_url: None,
            proxies: Proxies::default(),
            support_url: None,
            owner: OwnerPreset::default(),
            access_ttl: Duration::from_secs(3600),
            registration: false,
            retention: Retention::default(),
        }
    }
}
