//! What the hub knows of a server and its processes, whoever told it.
//!
//! Both doors (our agent's and PM2's) translate into these types; everything behind the doors speaks only these.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use crate::ids::ServerId;

/// Names of the two series that every process has, and their units: shared by all.
static CPU: LazyLock<Arc<str>> = LazyLock::new(|| "cpu".into());
static PERCENT: LazyLock<Arc<str>> = LazyLock::new(|| "%".into());
static MEMORY: LazyLock<Arc<str>> = LazyLock::new(|| "memory".into());
static BYTES: LazyLock<Arc<str>> = LazyLock::new(|| "B".into());

/// Milliseconds since the Unix epoch. The live state is told the time and never asks for it.
pub type Millis = i64;

/// Which kind of agent a server is reported by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentKind {
    /// Our own agent, over `/interaction/wire`.
    Pilothouse,
    /// An unmodified PM2 agent, over `/interaction/pm2`.
    Pm2,
}

impl AgentKind {
    /// The word used in every answer of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pilothouse => "pilothouse",
            Self::Pm2 => "pm2",
        }
    }
}

/// Facts about a server that change rarely, and the few host readings that come with them.
///
/// `None` means "not told", which is not the same as zero: PM2's agents do not send free memory, for example.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerFacts {
    /// Operating system's host name.
    pub hostname: String,
    /// User the agent runs as.
    pub username: Option<String>,
    /// `linux`, `darwin`, …
    pub platform: Option<String>,
    /// `Linux`, `Darwin`, …
    pub os_type: Option<String>,
    /// Process manager's version.
    pub pm2_version: Option<String>,
    /// Version of the node on that host, as the agent sees it.
    pub node_version: Option<String>,
    /// Agent's version.
    pub agent_version: Option<String>,
    /// Logical processors.
    pub cpus: Option<u32>,
    /// Processor model.
    pub cpu_model: Option<String>,
    /// Bytes.
    pub total_mem: Option<u64>,
    /// Bytes.
    pub free_mem: Option<u64>,
    /// 1, 5 and 15 minutes.
    pub loadavg: Option<[f64; 3]>,
    /// Seconds since boot.
    pub uptime: Option<f64>,
    /// Address that the hub sees the agent come from.
    pub public_ip: Option<String>,
    /// Address that the agent says it has.
    pub internal_ip: Option<String>,
    /// PM2's identifier of one agent process; ours: boot and host.
    pub unique_id: Option<String>,
    /// The host takes no commands, on purpose.
    pub reverse_disabled: bool,
    /// What may be asked of the host, in the words of the API; `None` = not told.
    pub allowed: Option<Vec<String>>,
    /// How far the host's clock is ahead of the hub's, as last seen; negative when it is behind.
    pub clock_ahead: Option<Millis>,
    /// What the host says that it sends; `None` = it says nothing.
    pub manifest: Option<Manifest>,
}

/// The list of fields that a host says it sends, as it sealed it (see [`wire::manifest`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// SHA-256 of the list, base64.
    pub digest: String,
    /// Fingerprint of the host's key, `SHA256:…`.
    pub key: String,
    /// It is the list that this hub knows.
    pub known: bool,
    /// Since when both are as they are.
    pub since: Millis,
}

/// What of a [`Manifest`] is not as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resealed {
    /// The list: the host runs another release.
    List,
    /// The host's key: it was set up anew, or it is another host.
    Key,
}

/// The last thing that went wrong between a server and the hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When.
    pub at: Millis,
    /// What, as a sentence for people; cut at [`MAX_TEXT`] bytes.
    pub text: String,
}

/// Value of a metric as the app gave it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reading {
    /// A number; text that reads as a finite number becomes one too.
    Number(f64),
    /// A yes or no.
    Flag(bool),
    /// Anything else, cut at [`MAX_TEXT`] bytes.
    Text(String),
}

/// Longest text kept for a metric's value.
pub const MAX_TEXT: usize = 256;

impl Reading {
    /// Text becomes a number when it is one: PM2's metrics often travel as `"5.68"`.
    pub fn from_text(text: &str) -> Self {
        match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Self::Number(number),
            _ => Self::Text(cut(text, MAX_TEXT).to_owned()),
        }
    }

    /// The number to keep in the history, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(n) if n.is_finite() => Some(*n),
            _ => None,
        }
    }

    /// As JSON; a number without a fraction is written without one.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Number(n) => number_json(*n),
            Self::Flag(b) => Value::Bool(*b),
            Self::Text(t) => Value::String(t.clone()),
        }
    }
}

/// One metric of a process: a row of PM2's `axm_monitor`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Name shown to people, and name of its series.
    pub name: Arc<str>,
    /// Latest value.
    pub value: Reading,
    /// Unit as text, `None` when the app gave none.
    pub unit: Option<Arc<str>>,
    /// Metric id such as `internal/v8/heap/used`.
    pub kind: Option<Arc<str>>,
    /// Whether its values are to be kept.
    pub historic: bool,
}

/// An action that an app offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionFact {
    /// Name to call it by.
    pub name: String,
    /// `custom`, `internal` or `scoped`.
    pub kind: String,
    /// 2 = takes a parameter.
    pub arity: u32,
    /// What the app says about its parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opts: Option<Value>,
}

/// Facts of a process that rarely change; shared between successive states of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessFacts {
    /// App name.
    pub name: String,
    /// Namespace; `default` unless told.
    pub namespace: String,
    /// `fork_mode` or `cluster_mode`.
    pub exec_mode: String,
    /// `node`, `python3`, `none`, a path.
    pub interpreter: String,
    /// Node version of the app.
    pub node_version: Option<String>,
    /// Version of the app.
    pub version: Option<String>,
    /// Absolute path of the script.
    pub path: Option<String>,
    /// Arguments of the interpreter.
    pub args: Option<Vec<String>>,
    /// `NODE_ENV`.
    pub node_env: Option<String>,
    /// PM2's identifier of this start of the app (instances of one start share it).
    pub unique_id: Option<String>,
    /// Milliseconds since the epoch when the entry was made.
    pub created_at: Option<Millis>,
    /// Whether it is a module.
    pub module: bool,
    /// What git says: PM2's `versioning` object as it is.
    pub versioning: Option<Value>,
    /// Actions that the app offers.
    pub actions: Vec<ActionFact>,
}

/// One process this second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Number of the entry on its server.
    pub pm_id: u32,
    /// What rarely changes.
    pub facts: Arc<ProcessFacts>,
    /// 0 when not running.
    pub pid: u32,
    /// PM2's word for the state: `online`, `stopped`, `errored`, …
    pub status: Arc<str>,
    /// Percent of one core; may exceed 100.
    pub cpu: f64,
    /// Resident bytes.
    pub memory: u64,
    /// Restarts since creation or reset.
    pub restart_time: u64,
    /// Milliseconds since the epoch when this run of it began.
    pub pm_uptime: Option<Millis>,
    /// Metrics, in the order of the agent.
    pub metrics: Vec<Metric>,
}

impl Process {
    /// Stable name of the entry inside its server. An id alone is not enough: a new app may get the id of a deleted one.
    pub fn key(&self) -> ProcessKey {
        ProcessKey::new(self.pm_id, &self.facts.name)
    }

    /// Numbers worth keeping this second, as (metric, unit, value).
    pub fn samples(&self) -> impl Iterator<Item = (Arc<str>, Option<Arc<str>>, f64)> {
        // A process that does not run has no CPU or memory: its chart shows a gap, not zeros.
        let running = self.pid > 0;
        let basic = [
            (&*CPU, &*PERCENT, self.cpu),
            (&*MEMORY, &*BYTES, self.memory as f64),
        ];
        let basic = basic.into_iter().filter(move |_| running);
        basic
            .map(|(name, unit, value)| (name.clone(), Some(unit.clone()), value))
            .chain(
                self.metrics
                    .iter()
                    .filter(|m| m.historic)
                    .filter_map(|m| Some((m.name.clone(), m.unit.clone(), m.value.number()?))),
            )
    }
}

/// `<pm_id>:<name>`: see [`Process::key`]. Ordered as people expect, by number first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessKey {
    pm_id: u32,
    text: Arc<str>,
}

impl ProcessKey {
    /// Key of entry `pm_id` called `name`.
    pub fn new(pm_id: u32, name: &str) -> Self {
        Self {
            pm_id,
            text: format!("{pm_id}:{name}").into(),
        }
    }

    /// Reads a key back; `None` when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, _) = text.split_once(':')?;
        Some(Self {
            pm_id: id.parse().ok()?,
            text: text.into(),
        })
    }

    /// Number of the entry on its server.
    pub fn pm_id(&self) -> u32 {
        self.pm_id
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Display for ProcessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Numbers a connection of an agent. Never used twice, so an old connection cannot speak for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// How a server stands towards the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// Data comes in.
    Online,
    /// The link ended without a word, or went silent, less than the bucket's limit ago.
    Lost,
    /// Nothing for longer than the bucket's limit.
    Offline,
    /// The agent said goodbye: it was stopped on purpose.
    Stopped,
}

impl ServerState {
    /// The word used in every answer of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Lost => "lost",
            Self::Offline => "offline",
            Self::Stopped => "stopped",
        }
    }

    /// PM2 Plus's idea of an active server: one it has not given up.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Online | Self::Lost)
    }
}

/// The part of `text` that fits in `max` bytes, never splitting a character.
pub fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A number as JSON, `12` rather than `12.0`; `null` when it is not finite.
pub fn number_json(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        Value::from(number as i64)
    } else {
        serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number)
    }
}

/// A JSON object under construction.
pub type Object = Map<String, Value>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_a_number_becomes_one() {
        assert_eq!(Reading::from_text("5.68"), Reading::Number(5.68));
        assert_eq!(Reading::from_text(" 12 "), Reading::Number(12.0));
        assert_eq!(Reading::from_text("NaN"), Reading::Text("NaN".into()));
        assert_eq!(Reading::from_text("inf"), Reading::Text("inf".into()));
        assert_eq!(Reading::from_text("3ms"), Reading::Text("3ms".into()));
    }

    #[test]
    fn cut_never_splits_a_character() {
        assert_eq!(cut("héllo", 2), "h");
        assert_eq!(cut("héllo", 3), "hé");
        assert_eq!(cut("abc", 9), "abc");
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        assert_eq!(number_json(12.0).to_string(), "12");
        assert_eq!(number_json(0.5).to_string(), "0.5");
        assert_eq!(number_json(f64::NAN), Value::Null);
    }

    #[test]
    fn a_stopped_process_leaves_a_gap() {
        let mut process = Process {
            pm_id: 0,
            facts: Arc::default(),
            pid: 0,
            status: "stopped".into(),
            cpu: 0.0,
            memory: 0,
            restart_time: 0,
            pm_uptime: None,
            metrics: Vec::new(),
        };
        assert_eq!(process.samples().count(), 0);
        process.pid = 7;
        assert_eq!(
            process.samples().map(|s| s.0.to_string()).collect::<Vec<_>>(),
            ["cpu", "memory"]
        );
    }
}
