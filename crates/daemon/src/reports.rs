//! What a child tells of itself, in its entry. Everything is bounded: a child can make its own entry useless, but not large.

use pm2::Object;
use pm2::env::Pm2Env;
use serde_json::Value;

/// Metrics, options or actions of one process.
const MAX_NAMES: usize = 1000;
/// Bytes of text of one kind of report in one entry.
const MAX_BYTES: usize = 1024 * 1024;

/// Actions and metrics end with the life that told them.
pub(crate) fn forget(env: &mut Pm2Env) {
    env.set("axm_actions", Vec::<Value>::new());
    env.set("axm_monitor", Object::new());
}

/// Merge metrics.
pub(crate) fn metrics(env: &mut Pm2Env, metrics: Object) {
    merge(env, "axm_monitor", metrics);
}

/// Merge options. Returns the new name if the process renames itself.
pub(crate) fn options(env: &mut Pm2Env, options: Object) -> Option<String> {
    let name = options
        .get("name")
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty() && name.len() <= 255);
    let renamed = name.filter(|name| *name != env.name()).map(str::to_owned);
    merge(env, "axm_options", options);
    if let Some(name) = &renamed {
        env.set("name", name.clone());
    }
    renamed
}

/// Add an action if its name is new. Returns whether it was.
pub(crate) fn action(env: &mut Pm2Env, name: &str, fields: Object) -> bool {
    if !matches!(env.get("axm_actions"), Some(Value::Array(_))) {
        env.set("axm_actions", Vec::<Value>::new());
    }
    let Some(Value::Array(actions)) = env.as_object_mut().get_mut("axm_actions") else {
        return false;
    };
    let known = actions
        .iter()
        .any(|action| action.get("action_name").and_then(Value::as_str) == Some(name));
    if known || actions.len() >= MAX_NAMES || size(&Value::Object(fields.clone())) > MAX_BYTES / MAX_NAMES {
        return false;
    }
    actions.push(Value::Object(fields));
    true
}

/// Whether the process offers this action.
pub(crate) fn has_action(env: &Pm2Env, name: &str) -> bool {
    let actions = env.get("axm_actions").and_then(Value::as_array);
    actions.is_some_and(|actions| {
        actions
            .iter()
            .any(|action| action.get("action_name").and_then(Value::as_str) == Some(name))
    })
}

/// The process that is to be measured instead, if it named one. `Some(None)`: it named something that is no pid.
pub(crate) fn measured_pid(env: &Pm2Env) -> Option<Option<u32>> {
    let pid = env.get("axm_options")?.get("pid")?;
    Some(pm2::rpc::process_id(pid).filter(|pid| *pid > 0))
}

fn merge(env: &mut Pm2Env, key: &str, brought: Object) {
    if !matches!(env.get(key), Some(Value::Object(_))) {
        env.set(key, Object::new());
    }
    let Some(Value::Object(held)) = env.as_object_mut().get_mut(key) else {
        return;
    };
    for (name, value) in brought {
        let fits = held.contains_key(&name) || held.len() < MAX_NAMES;
        if fits && name.len() + size(&value) <= MAX_BYTES / 16 {
            held.insert(name, value);
        }
    }
}

/// About the bytes of its text, without writing it.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 12,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| size(item) + 1).sum::<usize>() + 2,
        Value::Object(map) => {
            map.iter()
                .map(|(key, value)| key.len() + size(value) + 4)
                .sum::<usize>()
                + 2
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Object {
        match value {
            Value::Object(map) => map,
            other => panic!("not an object: {other}"),
        }
    }

    #[test]
    fn reports_are_merged_and_bounded() {
        let mut env = Pm2Env::from(object(json!({ "name": "a", "axm_monitor": 5 })));
        metrics(&mut env, object(json!({ "x": { "value": 1 } })));
        metrics(
            &mut env,
            object(json!({ "x": { "value": 2 }, "y": 3, "big": "z".repeat(MAX_BYTES) })),
        );
        assert_eq!(
            env.get("axm_monitor"),
            Some(&json!({ "x": { "value": 2 }, "y": 3 }))
        );
        for n in 0..2 * MAX_NAMES {
            metrics(&mut env, object(json!({ format!("m{n}"): 0 })));
        }
        assert_eq!(
            env.get("axm_monitor").and_then(Value::as_object).map(Object::len),
            Some(MAX_NAMES)
        );
        assert!(action(
            &mut env,
            "go",
            object(json!({ "action_name": "go", "arity": 1 }))
        ));
        assert!(!action(&mut env, "go", object(json!({ "action_name": "go" }))));
        assert!(has_action(&env, "go") && !has_action(&env, "stop"));
        assert_eq!(
            options(&mut env, object(json!({ "name": "b", "pid": "12" }))),
            Some("b".into())
        );
        assert_eq!((env.name(), measured_pid(&env)), ("b", Some(Some(12))));
        assert_eq!(
            options(&mut env, object(json!({ "name": "b", "pid": "x" }))),
            None
        );
        assert_eq!(measured_pid(&env), Some(None));
        forget(&mut env);
        assert!(!has_action(&env, "go"));
    }
}
