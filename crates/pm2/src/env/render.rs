//! One element of the process list.

use super::{Pm2Env, serialize_all};
use serde::{Serialize, Serializer};

/// What a process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Monit {
    /// Resident bytes.
    pub memory: u64,
    /// Percent of one core since the last look, one decimal.
    #[serde(serialize_with = "cpu")]
    pub cpu: f64,
}

/// `{pid, name, pm2_env, pm_id, monit}` in this order; borrowed, so that a list is written without copying the entries.
#[derive(Clone, Debug, Serialize)]
pub struct ListElement<'a> {
    /// Pid, 0 when it does not run.
    pub pid: u32,
    name: &'a str,
    pm2_env: Chosen<'a>,
    pm_id: Option<u32>,
    /// Left out for the replies that have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monit: Option<Monit>,
    /// Ours: whether others may rely on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness: Option<&'static str>,
    /// Ours: what its health check says, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthShown<'a>>,
    /// Ours: whether its limits hold, if it has some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsShown<'a>>,
}

/// An entry, or those of its fields that were asked for.
#[derive(Clone, Debug)]
struct Chosen<'a> {
    env: &'a Pm2Env,
    only: Option<&'a [&'a str]>,
}

impl Serialize for Chosen<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.only {
            None => self.env.serialize(serializer),
            Some(names) => {
                let fields = self.env.fields().iter();
                serialize_all(fields.filter(|(name, _)| names.contains(name)), serializer)
            }
        }
    }
}

impl<'a> ListElement<'a> {
    /// With these fields of `pm2_env` alone.
    #[must_use]
    pub fn only(mut self, names: &'a [&'a str]) -> Self {
        self.pm2_env.only = Some(names);
        self
    }
}

/// What is shown of a health check.
#[derive(Clone, Debug, Serialize)]
pub struct HealthShown<'a> {
    /// `starting`, `healthy` or `unhealthy`.
    pub status: &'static str,
    /// Failures in a row.
    pub failures: u32,
    /// What was wrong the last time, if the last look was bad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
}

/// What is shown of limits.
#[derive(Clone, Debug, Serialize)]
pub struct LimitsShown<'a> {
    /// The cgroup that it runs in, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<&'a str>,
    /// Why some or all do not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<&'a str>,
}

impl Pm2Env {
    /// The element of this process; `monit` belongs in `getMonitorData` only.
    pub fn list_element(&self, pid: u32, monit: Option<Monit>) -> ListElement<'_> {
        ListElement {
            pid,
            name: self.name(),
            pm2_env: Chosen {
                env: self,
                only: None,
            },
            pm_id: self.pm_id(),
            monit,
            readiness: None,
            health: None,
            limits: None,
        }
    }
}

/// Whole percentages are written without a fraction, as JavaScript does.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn cpu<S: serde::Serializer>(cpu: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let rounded = (cpu * 10.0).round() / 10.0;
    crate::js::json_number(rounded).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::super::tests::env;
    use super::*;
    use serde_json::json;

    #[test]
    fn an_element_has_pm2s_order() {
        let env = env(json!({ "name": "a", "pm_id": 4 }));
        let text = |monit| serde_json::to_string(&env.list_element(7, monit)).unwrap();
        assert_eq!(
            text(Some(Monit {
                memory: 1024,
                cpu: 2.04
            })),
            r#"{"pid":7,"name":"a","pm2_env":{"name":"a","pm_id":4},"pm_id":4,"monit":{"memory":1024,"cpu":2}}"#
        );
        assert_eq!(
            text(None),
            r#"{"pid":7,"name":"a","pm2_env":{"name":"a","pm_id":4},"pm_id":4}"#
        );
        assert_eq!(
            serde_json::to_string(&env.list_element(7, None).only(&["pm_id", "gone"])).unwrap(),
            r#"{"pid":7,"name":"a","pm2_env":{"pm_id":4},"pm_id":4}"#
        );
    }
}
