//! What a running app tells of itself: metrics, actions, options. Everything is bounded: a child can make its own entry
//! useless, but not large.

use super::{Field, Pm2Env};
use crate::{Object, js};
use serde_json::Value;

/// Metrics, options or actions of one process.
const MAX_NAMES: usize = 1000;
/// Bytes of text of one kind of report in one entry.
const MAX_BYTES: usize = 1024 * 1024;

const ACTIONS: &str = "axm_actions";
const METRICS: &str = "axm_monitor";
const OPTIONS: &str = "axm_options";

/// An action that an app offers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActionReport<'a> {
    /// What it is called by.
    pub name: &'a str,
    /// The kind in the app's words: `internal`, `custom`, `scoped`, or whatever else it says.
    pub kind: Option<&'a str>,
    /// Its name is one of those that PM2's own modules use.
    pub internal: bool,
    /// How many arguments its function takes.
    pub arity: u32,
    /// What else the app says of it.
    pub opts: Option<&'a Value>,
}

/// A metric as an app told it last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricReport<'a> {
    /// Its name.
    pub name: &'a str,
    /// The value, mostly a number or a text that holds one.
    pub value: &'a Value,
    /// The unit, or nothing.
    pub unit: &'a str,
    /// The path-like kind, such as `internal/v8/heap/used`, or nothing.
    pub kind: &'a str,
    /// Whether its past is to be kept.
    pub historic: bool,
}

impl Pm2Env {
    /// The field (ours) that says why the main module of a process that runs could not be loaded.
    pub const LOAD_ERROR: &str = "load_error";

    /// Actions and metrics end with the life that told them, and so does the reason why it is idle.
    pub fn forget_reports(&mut self) {
        self.set(ACTIONS, Vec::<Value>::new());
        self.set(METRICS, Object::new());
        self.unset(Self::LOAD_ERROR);
    }

    /// Why its main module could not be loaded, if that is so: it runs, and does nothing.
    pub fn load_error(&self) -> Option<&str> {
        self.text(Self::LOAD_ERROR)
    }

    /// Merges metrics.
    pub fn report_metrics(&mut self, metrics: Object) {
        self.merge_report(METRICS, metrics);
    }

    /// Merges options. Returns the new name if the process renames itself.
    pub fn report_options(&mut self, options: Object) -> Option<String> {
        let name = options
            .get("name")
            .and_then(Value::as_str)
            .filter(|name| !name.is_empty() && name.len() <= 255);
        let renamed = name.filter(|name| *name != self.name()).map(str::to_owned);
        self.merge_report(OPTIONS, options);
        if let Some(name) = &renamed {
            self.set("name", name.clone());
        }
        renamed
    }

    /// Adds an action if its name is new. Returns whether it was.
    pub fn report_action(&mut self, name: &str, fields: Object) -> bool {
        let known = self.has_action(name);
        let list = self.other_mut(ACTIONS, Value::is_array, || Vec::<Value>::new().into());
        let Some(Value::Array(actions)) = list else {
            return false;
        };
        let fields = Value::Object(fields);
        if known || actions.len() >= MAX_NAMES || size(&fields) > MAX_BYTES / MAX_NAMES {
            return false;
        }
        actions.push(fields);
        true
    }

    /// Whether the process offers this action.
    pub fn has_action(&self, name: &str) -> bool {
        self.actions().any(|action| action.name == name)
    }

    /// What the process offers, in the order in which it told. Actions without a name are passed over.
    pub fn actions(&self) -> impl Iterator<Item = ActionReport<'_>> {
        let actions = self.array(ACTIONS);
        actions.into_iter().flatten().filter_map(ActionReport::read)
    }

    /// What the process measures.
    pub fn metrics(&self) -> impl Iterator<Item = MetricReport<'_>> {
        let metrics = self.object(METRICS);
        metrics
            .into_iter()
            .flatten()
            .map(|(name, value)| MetricReport::read(name, value))
    }

    /// About how many bytes of text are in the entry.
    pub fn size(&self) -> u64 {
        let members = self.fields().iter();
        members
            .map(|(key, field)| (key.len() + field_size(field)) as u64)
            .sum()
    }

    /// What a module tells people of itself: rows of a table.
    pub fn human_info(&self) -> &[Value] {
        let told = self.object(OPTIONS).and_then(|options| options.get("human_info"));
        told.and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// The process that is to be measured instead, if it named one. `Some(None)`: it named something that is no pid.
    pub fn measured_pid(&self) -> Option<Option<u32>> {
        let pid = self.object(OPTIONS)?.get("pid")?;
        Some(crate::rpc::process_id(pid).filter(|pid| *pid > 0))
    }

    fn merge_report(&mut self, key: &str, brought: Object) {
        let object = self.other_mut(key, Value::is_object, || Object::new().into());
        let Some(Value::Object(held)) = object else {
            return;
        };
        for (name, value) in brought {
            let fits = held.contains_key(&name) || held.len() < MAX_NAMES;
            if fits && name.len() + size(&value) <= MAX_BYTES / 16 {
                held.insert(name, value);
            }
        }
    }
}

impl<'a> ActionReport<'a> {
    fn read(action: &'a Value) -> Option<Self> {
        let name = action.get("action_name")?.as_str()?;
        Some(ActionReport {
            name,
            kind: action.get("action_type").and_then(Value::as_str),
            internal: name.starts_with("km:") || name.starts_with("internal:"),
            arity: action
                .get("arity")
                .and_then(Value::as_u64)
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(0),
            opts: action.get("opts").filter(|opts| !opts.is_null()),
        })
    }
}

impl<'a> MetricReport<'a> {
    fn read(name: &'a str, metric: &'a Value) -> Self {
        // Older modules tell the bare value.
        let Value::Object(fields) = metric else {
            return MetricReport {
                name,
                value: metric,
                unit: "",
                kind: "",
                historic: true,
            };
        };
        let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
        MetricReport {
            name,
            value: fields.get("value").unwrap_or(&Value::Null),
            unit: text("unit"),
            kind: text("type"),
            historic: fields.get("historic").and_then(js::as_bool).unwrap_or(true),
        }
    }
}

fn field_size(field: &Field) -> usize {
    match field {
        Field::Text(text) => text.len() + 2,
        Field::Vars(vars) => {
            let members = vars.iter();
            members
                .map(|(name, field)| name.len() + field_size(field) + 4)
                .sum::<usize>()
                + 2
        }
        Field::Other(value) => size(value),
        other => size(&other.to_value()),
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
    use super::super::tests::env;
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
        let mut app = env(json!({ "name": "a", "axm_monitor": 5 }));
        app.report_metrics(object(json!({ "x": { "value": 1 } })));
        app.report_metrics(object(
            json!({ "x": { "value": 2 }, "y": 3, "big": "z".repeat(MAX_BYTES) }),
        ));
        assert_eq!(
            app.get("axm_monitor").as_deref(),
            Some(&json!({ "x": { "value": 2 }, "y": 3 }))
        );
        for n in 0..2 * MAX_NAMES {
            app.report_metrics(object(json!({ format!("m{n}"): 0 })));
        }
        assert_eq!(app.metrics().count(), MAX_NAMES);
        assert!(app.report_action("go", object(json!({ "action_name": "go", "arity": 1 }))));
        assert!(!app.report_action("go", object(json!({ "action_name": "go" }))));
        assert!(app.has_action("go") && !app.has_action("stop"));
        assert_eq!(
            app.report_options(object(json!({ "name": "b", "pid": "12" }))),
            Some("b".into())
        );
        assert_eq!((app.name(), app.measured_pid()), ("b", Some(Some(12))));
        assert_eq!(
            app.report_options(object(json!({ "name": "b", "pid": "x" }))),
            None
        );
        assert_eq!(app.measured_pid(), Some(None));
        app.forget_reports();
        assert_eq!((app.actions().count(), app.metrics().count()), (0, 0));
    }

    #[test]
    fn odd_reports_are_read_as_far_as_they_go() {
        let app = env(json!({
            "axm_monitor": { "Heap": { "value": "12.5", "unit": "MiB", "type": "t", "historic": false }, "n": 4, "odd": { "unit": 5 } },
            "axm_actions": [
                { "action_name": "km:x", "arity": 2, "opts": null }, { "no": 1 }, 7,
                { "action_name": "y", "action_type": "scoped", "arity": -1, "opts": { "a": 1 } },
            ],
        }));
        let actions: Vec<_> = app
            .actions()
            .map(|a| (a.name, a.kind, a.internal, a.arity, a.opts))
            .collect();
        let opts = json!({ "a": 1 });
        assert_eq!(
            actions,
            [
                ("km:x", None, true, 2, None),
                ("y", Some("scoped"), false, 0, Some(&opts))
            ]
        );
        let metrics: Vec<_> = app
            .metrics()
            .map(|m| (m.name, m.value.clone(), m.unit, m.kind, m.historic))
            .collect();
        assert_eq!(
            metrics,
            [
                ("Heap", json!("12.5"), "MiB", "t", false),
                ("n", json!(4), "", "", true),
                ("odd", Value::Null, "", "", true),
            ]
        );
        let none = env(json!({ "axm_monitor": [1], "axm_actions": "x" }));
        assert_eq!((none.actions().count(), none.metrics().count()), (0, 0));
    }
}
