//! One element of the daemon's list, as the verbs look at it.

use pm2::Object;
use pm2::env::{FieldSeed, Pm2Env};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// A process as the daemon tells it. Fields of `pm2_env` may be left out, see [`parse_list`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) name: String,
    pub(crate) pm_id: u32,
    /// Resident bytes.
    pub(crate) memory: u64,
    /// Percent of one core.
    pub(crate) cpu: f64,
    pub(crate) env: Pm2Env,
    /// Whether others may rely on it; our daemon alone tells.
    pub(crate) readiness: Option<String>,
    /// What its health check says, if it has one.
    pub(crate) health: Option<Health>,
    /// What became of its limits, if it has some.
    pub(crate) limits: Option<Held>,
}

/// What became of limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Held {
    /// The cgroup that holds them.
    #[serde(default)]
    pub(crate) cgroup: Option<String>,
    /// Why some or all do not hold.
    #[serde(default)]
    pub(crate) trouble: Option<String>,
}

/// What a health check says.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
pub(crate) struct Health {
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) failures: u32,
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

/// What the tables show of `pm2_env`. Everything else, above all the apps' environments, is skipped unread.
pub(crate) const TABLE_FIELDS: &[&str] = &[
    "_km_monitored",
    "created_at",
    "depends_on",
    "exec_mode",
    Pm2Env::LOAD_ERROR,
    "namespace",
    "pm_err_log_path",
    "pm_pid_path",
    "pm_uptime",
    "pmx_module",
    "restart_time",
    "status",
    "trace",
    "uid",
    "username",
    "version",
    "watch",
    Pm2Env::WATCH_ERRORS,
];

/// The argument of `getMonitorData` that asks for these fields of each `pm2_env` (`None`: all). A daemon of another make sends all.
pub(crate) fn asked(keep: Option<&[&str]>) -> Object {
    let fields = keep.map(|names| ("fields".to_owned(), Value::from(names.to_vec())));
    fields.into_iter().collect()
}

/// Reads the JSON list of `getMonitorData`, keeping only the named fields of each `pm2_env` (`None`: all). Elements that
/// are no processes are left out.
pub(crate) fn parse_list(json: &[u8], keep: Option<&[&str]>) -> Result<Vec<Process>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    // All processes hold the same names.
    let keep: Option<Vec<Arc<str>>> = keep.map(|names| names.iter().copied().map(Arc::from).collect());
    let list = ListSeed(keep.as_deref()).deserialize(&mut reader)?;
    reader.end()?;
    Ok(list)
}

struct ListSeed<'k>(Option<&'k [Arc<str>]>);

impl<'de> DeserializeSeed<'de> for ListSeed<'_> {
    type Value = Vec<Process>;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ListSeed<'_> {
    type Value = Vec<Process>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of processes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(process) = seq.next_element_seed(ProcessSeed(self.0))? {
            list.extend(process);
        }
        Ok(list)
    }
}

struct ProcessSeed<'k>(Option<&'k [Arc<str>]>);

impl<'de> DeserializeSeed<'de> for ProcessSeed<'_> {
    type Value = Option<Process>;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ProcessSeed<'_> {
    type Value = Option<Process>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a process")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut pid, mut name, mut pm_id, mut monit, mut env) = (
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
            Pm2Env::default(),
        );
        let (mut readiness, mut health, mut limits) = (Value::Null, Value::Null, Value::Null);
        while let Some(key) = map.next_key()? {
            match key {
                Key::Pid => pid = map.next_value()?,
                Key::Name => name = map.next_value()?,
                Key::PmId => pm_id = map.next_value()?,
                Key::Monit => monit = map.next_value()?,
                Key::Readiness => readiness = map.next_value()?,
                Key::Health => health = map.next_value()?,
                Key::Limits => limits = map.next_value()?,
                Key::Env => env = map.next_value_seed(EnvSeed(self.0))?,
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let Some(pm_id) = pm2::js::as_int(&pm_id).and_then(|id| u32::try_from(id).ok()) else {
            return Ok(None);
        };
        Ok(Some(Process {
            pid: pm2::js::as_int(&pid)
                .and_then(|pid| u32::try_from(pid).ok())
                .unwrap_or(0),
            name: match name {
                Value::Null => String::new(),
                name => pm2::js::to_text(&name),
            },
            pm_id,
            memory: monit.get("memory").and_then(Value::as_f64).unwrap_or(0.0) as u64,
            cpu: monit.get("cpu").and_then(Value::as_f64).unwrap_or(0.0),
            env,
            readiness: readiness.as_str().map(str::to_owned),
            health: serde_json::from_value(health).ok(),
            limits: serde_json::from_value(limits).ok(),
        }))
    }
}

/// A member of an element.
#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Pid,
    Name,
    PmId,
    Monit,
    Readiness,
    Health,
    Limits,
    #[serde(rename = "pm2_env")]
    Env,
    #[serde(other)]
    Other,
}

struct EnvSeed<'k>(Option<&'k [Arc<str>]>);

impl<'de> DeserializeSeed<'de> for EnvSeed<'_> {
    type Value = Pm2Env;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EnvSeed<'_> {
    type Value = Pm2Env;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pm2_env object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Some(keep) = self.0 else {
            let mut all = Object::new();
            while let Some((key, value)) = map.next_entry::<String, Value>()? {
                all.insert(key, value);
            }
            return Ok(all.into());
        };
        let mut env = Pm2Env::default();
        let mut seen = vec![false; keep.len()];
        while let Some(at) = map.next_key_seed(KeptSeed(keep))? {
            let wanted = at.and_then(|at| Some((keep.get(at)?, seen.get_mut(at)?)));
            // The first of two of one name counts; nobody writes two.
            if let Some((name, seen)) = wanted.filter(|(_, seen)| !**seen) {
                *seen = true;
                env.push(name, map.next_value_seed(FieldSeed(name))?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(env)
    }
}

/// The place of a name among those that are kept.
struct KeptSeed<'k>(&'k [Arc<str>]);

impl<'de> DeserializeSeed<'de> for KeptSeed<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KeptSeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|kept| **kept == *name))
    }
}

impl Process {
    /// As the daemon tells it.
    pub(crate) fn as_json(&self) -> Value {
        serde_json::json!({
            "pid": self.pid,
            "name": self.name,
            "pm2_env": self.env,
            "pm_id": self.pm_id,
            "monit": { "memory": self.memory, "cpu": self.cpu },
        })
    }

    pub(crate) fn status(&self) -> &str {
        self.env.status()
    }

    /// It runs, and its health check fails.
    pub(crate) fn is_unhealthy(&self) -> bool {
        self.status() == "online"
            && self
                .health
                .as_ref()
                .is_some_and(|health| health.status == "unhealthy")
    }

    pub(crate) fn is_module(&self) -> bool {
        self.env.is_module()
    }
}

#[cfg(test)]
pub(crate) fn sample(pm_id: u32, name: &str, env: Value) -> Process {
    let Value::Object(env) = env else {
        panic!("an object")
    };
    Process {
        pid: 4000 + pm_id,
        name: name.into(),
        pm_id,
        memory: 28_206_694,
        cpu: 0.0,
        env: Pm2Env::from(env),
        readiness: None,
        health: None,
        limits: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wanted_fields_are_kept_and_odd_elements_left_out() {
        let json = br#"[{"pid":7,"name":"api","pm2_env":{"env":{"A":"1"},"status":"online","x":[1]},"pm_id":0,"monit":{"memory":10,"cpu":1.5}},
            {"pid":0,"name":5,"pm2_env":{},"pm_id":"1"},{"pm_id":"_old_3","pm2_env":{}},{}]"#;
        let list = parse_list(json, Some(&["status"])).unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!((list[0].pid, list[0].memory, list[0].cpu), (7, 10, 1.5));
        assert_eq!(list[0].env.to_object().keys().collect::<Vec<_>>(), ["status"]);
        assert_eq!((list[1].pm_id, list[1].name.as_str()), (1, "5"));
        let list = parse_list(json, None).unwrap();
        assert_eq!(list[0].env.fields().len(), 3);
        for bad in ["{}", "[1]", "[{\"pm2_env\":3}]", "[] []", ""] {
            assert!(parse_list(bad.as_bytes(), None).is_err(), "{bad}");
        }
    }
}
