//! What a restart or reload brings along.

use super::Pm2Env;
use super::fields::Fields;
use crate::{Object, js};
use serde_json::Value;

/// Fields that a client must not set: they say who the process is, or belong to the daemon's own book-keeping.
const LIVE: [&str; 13] = [
    "pm_id",
    "status",
    "pm_uptime",
    "created_at",
    "restart_time",
    "unstable_restarts",
    "axm_actions",
    "axm_monitor",
    "axm_options",
    "axm_dynamic",
    "prev_restart_delay",
    "exit_code",
    Pm2Env::LOAD_ERROR,
];

impl Pm2Env {
    /// Merges the `env` of restartProcessId and its kind: variables go into the app's `env`, the attributes in
    /// `current_conf` into the entry itself, where the text `null` deletes an attribute and an empty `env` changes nothing.
    /// Values that an environment can't carry (objects, the text `[object Object]`) are ignored.
    ///
    /// Takes effect with the next [`Pm2Env::begin_launch`].
    pub fn merge_restart(&mut self, brought: &Object) {
        if self.vars().is_none() {
            self.set("env", Object::new());
        }
        if let Some(vars) = self.vars_mut() {
            vars.lay_over(Fields::from(brought.clone()).carried());
        }
        let Some(Value::Object(conf)) = brought.get("current_conf") else {
            return;
        };
        // The last attribute first: that is the order in which PM2 appends new ones.
        for (key, value) in conf.iter().rev() {
            let empty_env = key == "env" && value.as_object().is_some_and(Object::is_empty);
            if empty_env || LIVE.contains(&key.as_str()) {
                continue;
            }
            if matches!(value, Value::String(_) | Value::Array(_)) && js::to_text(value) == "null" {
                self.unset(key);
            } else {
                self.set(key, value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::env;
    use super::*;
    use serde_json::json;

    #[test]
    fn a_restart_changes_variables_and_attributes() {
        let mut env = env(json!({ "name": "a", "env": { "A": "1" }, "node_args": ["--x"], "pm_id": 3 }));
        let Value::Object(brought) = json!({
            "A": "2", "B": 3, "odd": "[object Object]", "obj": {},
            "current_conf": { "env": {}, "max_memory_restart": 5, "node_args": ["null"], "pm_id": 9 },
        }) else {
            panic!("an object")
        };
        env.merge_restart(&brought);
        assert_eq!(
            serde_json::to_string(&env).unwrap(),
            r#"{"name":"a","env":{"A":"2","B":3},"pm_id":3,"max_memory_restart":5}"#
        );
    }

    #[test]
    fn a_given_env_replaces_the_whole_one() {
        let mut env = env(json!({ "env": { "A": "1", "B": "1" } }));
        let Value::Object(brought) = json!({ "current_conf": { "env": { "A": "2" } } }) else {
            panic!("an object")
        };
        env.merge_restart(&brought);
        assert_eq!(env.get("env").as_deref(), Some(&json!({ "A": "2" })));
    }
}
