//! From attributes to the rules of the supervisor, and from its view back to fields.

use super::{ExecMode, Pm2Env, status_text};
use crate::health::HealthCheck;
use crate::js;
use crate::limits::Limits;
use serde_json::Value;
use std::time::Duration;
use supervisor::{Policy, View};

/// What the daemon's environment changes in the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyDefaults {
    /// PM2_KILL_TIMEOUT.
    pub kill_timeout: Duration,
    /// PM2_KILL_SIGNAL, as a number.
    pub kill_signal: i32,
    /// PM2_KILL_USE_MESSAGE.
    pub shutdown_with_message: bool,
    /// PM2_GRACEFUL_LISTEN_TIMEOUT.
    pub listen_timeout: Duration,
    /// PM2_GRACEFUL_TIMEOUT.
    pub graceful_timeout: Duration,
    /// EXP_BACKOFF_RESET_TIMER.
    pub backoff_reset: Duration,
}

impl Default for PolicyDefaults {
    fn default() -> Self {
        let policy = Policy::default();
        PolicyDefaults {
            kill_timeout: policy.kill_timeout,
            kill_signal: policy.kill_signal,
            shutdown_with_message: false,
            listen_timeout: policy.listen_timeout,
            graceful_timeout: policy.graceful_timeout,
            backoff_reset: policy.backoff_reset,
        }
    }
}

impl PolicyDefaults {
    /// The defaults with what the daemon's environment says. Values that can't be read change nothing.
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> PolicyDefaults {
        let ms = |name: &str| env(name).and_then(|v| js::parse_int(&v)).and_then(millis);
        let plain = PolicyDefaults::default();
        PolicyDefaults {
            kill_timeout: ms("PM2_KILL_TIMEOUT").unwrap_or(plain.kill_timeout),
            kill_signal: env("PM2_KILL_SIGNAL")
                .and_then(|s| crate::units::signal_number(&s))
                .unwrap_or(plain.kill_signal),
            shutdown_with_message: env("PM2_KILL_USE_MESSAGE").is_some_and(|v| !v.is_empty()),
            listen_timeout: ms("PM2_GRACEFUL_LISTEN_TIMEOUT").unwrap_or(plain.listen_timeout),
            graceful_timeout: ms("PM2_GRACEFUL_TIMEOUT").unwrap_or(plain.graceful_timeout),
            backoff_reset: ms("EXP_BACKOFF_RESET_TIMER").unwrap_or(plain.backoff_reset),
        }
    }
}

impl Pm2Env {
    /// The rules of this process.
    pub fn to_policy(&self, defaults: &PolicyDefaults) -> Policy {
        let plain = Policy::default();
        let ms = |key: &str| self.get(key).and_then(|value| duration(&value));
        Policy {
            autostart: self.flag("autostart").unwrap_or(true),
            autorestart: self.flag("autorestart").unwrap_or(true),
            max_restarts: self
                .int("max_restarts")
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(plain.max_restarts),
            min_uptime: ms("min_uptime").unwrap_or(plain.min_uptime),
            restart_delay: ms("restart_delay"),
            exp_backoff: ms("exp_backoff_restart_delay").filter(|d| !d.is_zero()),
            kill_timeout: ms("kill_timeout").unwrap_or(defaults.kill_timeout),
            stop_exit_codes: exit_codes(self.get("stop_exit_codes").as_deref()),
            max_memory: self
                .get("max_memory_restart")
                .and_then(|value| bytes(&value))
                .filter(|n| *n > 0),
            wait_ready: self.flag("wait_ready").unwrap_or(false),
            listen_timeout: ms("listen_timeout").unwrap_or(defaults.listen_timeout),
            treekill: self.flag("treekill").unwrap_or(true),
            kill_signal: defaults.kill_signal,
            shutdown_with_message: self
                .flag("shutdown_with_message")
                .unwrap_or(defaults.shutdown_with_message)
                || defaults.shutdown_with_message,
            backoff_reset: defaults.backoff_reset,
            tells_boot: self.exec_mode() == ExecMode::Cluster,
            overlap: self.exec_mode() == ExecMode::Cluster || !self.sockets().is_empty(),
            graceful_timeout: defaults.graceful_timeout,
            health: self.health().map(|health| health.rules),
        }
    }

    /// How its health is checked. What can't be read (another client may have sent it) is no check.
    pub fn health(&self) -> Option<HealthCheck> {
        HealthCheck::parse(self.object("health")?).ok()
    }

    /// What each process of it may take. What can't be read (another client may have sent it) is no limit.
    pub fn limits(&self) -> Option<Limits> {
        Limits::parse(self.object("limits")?).ok()
    }

    /// Takes over what the supervisor shows of the process.
    pub fn observe(&mut self, view: &View) {
        let facts = &view.facts;
        self.set("status", status_text(view.status));
        self.set("pm_uptime", facts.started_at);
        self.set("created_at", facts.created_at);
        self.set("restart_time", facts.restarts);
        self.set("unstable_restarts", facts.unstable_restarts);
        if let Some(code) = facts.exit_code {
            self.set("exit_code", code);
        }
        if let Some(delay) = facts.backoff {
            self.set("prev_restart_delay", delay.as_millis() as u64);
        }
    }
}

fn millis(n: i64) -> Option<Duration> {
    u64::try_from(n).ok().map(Duration::from_millis)
}

fn duration(value: &Value) -> Option<Duration> {
    match value {
        Value::String(text) => crate::units::parse_millis(text).map(Duration::from_millis),
        other => js::as_int(other).and_then(millis),
    }
}

fn bytes(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => crate::units::parse_bytes(text),
        other => js::as_int(other).and_then(|n| u64::try_from(n).ok()),
    }
}

/// `[0, "1"]`, `0` and `"0 1"` are all seen in the wild.
fn exit_codes(value: Option<&Value>) -> Vec<i32> {
    let one = |v: &Value| js::as_int(v).and_then(|n| i32::try_from(n).ok());
    match value {
        Some(Value::Array(items)) => items.iter().filter_map(one).collect(),
        Some(Value::String(text)) => text.split_whitespace().filter_map(|t| t.parse().ok()).collect(),
        Some(other) => one(other).into_iter().collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::env;
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_said_means_pm2s_defaults() {
        assert_eq!(
            env(json!({})).to_policy(&PolicyDefaults::default()),
            Policy::default()
        );
    }

    #[test]
    fn attributes_become_rules() {
        let policy = env(json!({
            "autorestart": "false", "max_restarts": 0, "min_uptime": 5000, "restart_delay": 0,
            "exp_backoff_restart_delay": 100, "kill_timeout": "3000", "stop_exit_codes": ["0", 1],
            "max_memory_restart": "10M", "wait_ready": true, "treekill": false,
        }))
        .to_policy(&PolicyDefaults::default());
        assert!(!policy.autorestart && policy.wait_ready && !policy.treekill);
        assert_eq!((policy.max_restarts, policy.max_memory), (0, Some(10 << 20)));
        assert_eq!(policy.restart_delay, Some(Duration::ZERO));
        assert_eq!(policy.exp_backoff, Some(Duration::from_millis(100)));
        assert_eq!(policy.kill_timeout, Duration::from_secs(3));
        assert_eq!(policy.stop_exit_codes, [0, 1]);
    }

    #[test]
    fn the_daemons_environment_moves_the_defaults() {
        let vars = [
            ("PM2_KILL_TIMEOUT", "500"),
            ("PM2_KILL_SIGNAL", "SIGTERM"),
            ("PM2_KILL_USE_MESSAGE", "0"),
        ];
        let defaults =
            PolicyDefaults::from_env(|k| vars.iter().find(|(n, _)| *n == k).map(|(_, v)| (*v).to_owned()));
        let policy = env(json!({})).to_policy(&defaults);
        assert_eq!(
            (policy.kill_timeout, policy.kill_signal),
            (Duration::from_millis(500), 15)
        );
        assert!(policy.shutdown_with_message);
        let own = env(json!({ "kill_timeout": 7 })).to_policy(&defaults);
        assert_eq!(own.kill_timeout, Duration::from_millis(7));
    }

    #[test]
    fn what_the_supervisor_sees_is_shown() {
        let mut env = env(json!({ "status": "launching", "created_at": 1 }));
        env.observe(&View {
            status: supervisor::Status::WaitingRestart,
            pid: None,
            incarnation: None,
            former: None,
            health: None,
            facts: supervisor::Facts {
                restarts: 2,
                exit_code: Some(0),
                ..Default::default()
            },
        });
        assert_eq!(
            serde_json::to_string(&env).unwrap(),
            r#"{"status":"waiting restart","created_at":null,"pm_uptime":0,"restart_time":2,"unstable_restarts":0,"exit_code":0}"#
        );
    }
}
