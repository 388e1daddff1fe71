//! Kinds, units, least values and defaults, by the table.

use super::table::{ATTRIBUTES, Attribute, Default, Kind, Rule, camel_case};
use super::{Level, Note, Rejected};
use crate::{Object, js, units};
use serde_json::Value;

/// Takes what the table knows out of `raw`, in the table's order; `env_*` come behind. All complaints are collected.
pub(super) fn validate(raw: &Object) -> Result<Object, Rejected> {
    let mut app = Object::new();
    let mut messages = Vec::new();
    for attribute in ATTRIBUTES {
        let Some(value) = written(attribute, raw) else {
            if let Some(value) = default(attribute) {
                app.insert(attribute.name.into(), value);
            }
            continue;
        };
        match accept(attribute, value) {
            Ok(value) => {
                app.insert(attribute.name.into(), value);
            }
            Err(text) => messages.push(Note::new(Level::Warn, text).about(attribute.name)),
        }
    }
    for (key, value) in raw
        .iter()
        .filter(|(key, value)| is_overlay(key) && !value.is_null())
    {
        match value {
            Value::Object(_) | Value::String(_) => {
                app.insert(key.clone(), value.clone());
            }
            other => {
                let text = kind_text(key, &[Kind::Object, Kind::Text], other);
                messages.push(Note::new(Level::Warn, text).about(key));
            }
        }
    }
    if messages.is_empty() {
        Ok(app)
    } else {
        Err(Rejected { messages })
    }
}

/// `env_production` and its kind.
pub fn is_overlay(key: &str) -> bool {
    key.strip_prefix("env_")
        .is_some_and(|rest| !rest.contains(char::is_whitespace))
}

/// What stands for the attribute: under its own name, in camelCase, or under an alias, the last one winning. As in PM2, what is
/// false, 0 or empty counts as not written where the name has a second spelling in camelCase; so it may yet have its default.
pub(super) fn written<'a>(attribute: &Attribute, raw: &'a Object) -> Option<&'a Value> {
    let get = |key: &str| raw.get(key).filter(|v| !v.is_null());
    let has_camel = attribute.name.contains('_');
    get(attribute.name)
        .filter(|v| !has_camel || js::truthy(v))
        .or_else(|| {
            let camel = has_camel.then(|| camel_case(attribute.name));
            camel.and_then(|camel| get(&camel).filter(|v| js::truthy(v)))
        })
        .or_else(|| {
            attribute
                .aliases
                .iter()
                .rev()
                .find_map(|alias| get(alias).filter(|v| js::truthy(v)))
        })
}

fn default(attribute: &Attribute) -> Option<Value> {
    match attribute.default {
        Default::Absent => None,
        Default::True => Some(true.into()),
        Default::Number(n) => Some(n.into()),
        Default::Text(text) => Some(text.into()),
    }
}

fn accept(attribute: &Attribute, value: &Value) -> Result<Value, String> {
    let name = attribute.name;
    if let (true, Value::String(text)) = (attribute.is_word_list(), value) {
        return Ok(split_list(text).into());
    }
    let mut value = value.clone();
    if let Value::String(text) = &value
        && attribute.kinds.contains(&Kind::Number)
        && let Some(number) = js::parse_number(text)
    {
        value = js::json_number(number);
    }
    // To PM2 a list of one number is that number.
    if let Value::Array(items) = &value
        && let [only] = items.as_slice()
        && attribute.kinds.contains(&Kind::Number)
        && let Some(number) = js::as_int(only)
    {
        value = number.into();
    }
    if !attribute.kinds.contains(&kind_of(&value)) {
        return Err(kind_text(name, attribute.kinds, &value));
    }
    let parsed = match attribute.rule {
        Rule::Plain => Ok(value),
        Rule::Bytes => units::parse_bytes(&js::to_text(&value)).map(Value::from).ok_or(
            "it should be a NUMBER - byte, \"[NUMBER]G\"(Gigabyte), \"[NUMBER]M\"(Megabyte) or \"[NUMBER]K\"(Kilobyte)",
        ),
        Rule::Millis => units::parse_millis(&js::to_text(&value)).map(Value::from).ok_or(
            "it should be a NUMBER - milliseconds, \"[NUMBER]h\"(hours), \"[NUMBER]m\"(minutes) or \"[NUMBER]s\"(seconds)",
        ),
        Rule::Health => {
            let check = value.as_object().map(crate::health::HealthCheck::parse);
            if let Some(Err(reason)) = check {
                return Err(format!("Verify \"{name}\" failed: {reason}"));
            }
            Ok(value)
        }
        Rule::Limits => {
            let limits = value.as_object().map(crate::limits::Limits::parse);
            if let Some(Err(reason)) = limits {
                return Err(format!("Verify \"{name}\" failed: {reason}"));
            }
            Ok(value)
        }
        Rule::ExecMode => match value.as_str() {
            Some("fork" | "fork_mode" | "cluster" | "cluster_mode") => Ok(value),
            _ => Err("it should be \"cluster\"(\"cluster_mode\") or \"fork\"(\"fork_mode\") only"),
        },
    };
    let value = parsed.map_err(|should| format!("Verify \"{name}\" with regex failed, {should}"))?;
    match (attribute.min, js::as_int(&value)) {
        (Some(min), Some(n)) if n < min => Err(format!("The minimum of \"{name}\" is {min}, but now is {n}")),
        _ => Ok(value),
    }
}

fn kind_of(value: &Value) -> Kind {
    match value {
        Value::Bool(_) => Kind::Bool,
        Value::Number(_) => Kind::Number,
        Value::String(_) | Value::Null => Kind::Text,
        Value::Array(_) => Kind::Array,
        Value::Object(_) => Kind::Object,
    }
}

fn kind_text(name: &str, kinds: &[Kind], value: &Value) -> String {
    let kinds: Vec<_> = kinds.iter().map(|k| k.js_name()).collect();
    format!(
        "Expect \"{name}\" to be a typeof {}, but now is {}",
        kinds.join(" / "),
        kind_of(value).js_name()
    )
}

/// A list written as text. A word that begins with a quote ends with it, and the quotes go; in `--flag="a b"` they hold the word
/// together and stay.
pub(super) fn split_list(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = match quoted(rest) {
            Some(len) => {
                words.push(rest[first.len_utf8()..len - 1].to_owned());
                len
            }
            None => {
                let plain = rest.find(char::is_whitespace).unwrap_or(rest.len());
                let joined = rest[..plain]
                    .find('=')
                    .and_then(|eq| Some(eq + 1 + quoted(&rest[eq + 1..])?));
                let len = joined.unwrap_or(plain);
                words.push(rest[..len].to_owned());
                len
            }
        };
        rest = rest[len..].trim_start();
    }
    words
}

/// Length of the quoted piece that the text begins with, both quotes included.
fn quoted(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    text[1..].find(quote).map(|at| at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(raw: Value) -> Result<String, String> {
        let Value::Object(raw) = raw else {
            panic!("an object")
        };
        validate(&raw)
            .map(|app| Value::Object(app).to_string())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn lists_are_split_as_pm2_splits_them() {
        // Measured with PM2 7.0.4.
        for (text, words) in [
            ("'a b' c", vec!["a b", "c"]),
            ("\"a b\" c", vec!["a b", "c"]),
            ("x='a b'", vec!["x='a b'"]),
            ("x=\"a 'b' c\" d", vec!["x=\"a 'b' c\"", "d"]),
            ("a\"b c\"d e", vec!["a\"b", "c\"d", "e"]),
            ("it's x", vec!["it's", "x"]),
            ("  lead  trail  ", vec!["lead", "trail"]),
            ("a\tb", vec!["a", "b"]),
            ("--x \"y z\"=1", vec!["--x", "y z", "=1"]),
            ("a\\\"b c", vec!["a\\\"b", "c"]),
            ("", vec![]),
        ] {
            assert_eq!(split_list(text), words, "{text}");
        }
    }

    #[test]
    fn complaints_are_pm2s() {
        for (raw, text) in [
            (
                json!({ "args": 5 }),
                "Expect \"args\" to be a typeof [object Array] / [object String], but now is [object Number]",
            ),
            (
                json!({ "autorestart": "false" }),
                "Expect \"autorestart\" to be a typeof [object Boolean], but now is [object String]",
            ),
            (
                json!({ "watch": {} }),
                "Expect \"watch\" to be a typeof [object Boolean] / [object Array] / [object String], but now is [object Object]",
            ),
            (
                json!({ "kill_timeout": "abc" }),
                "Expect \"kill_timeout\" to be a typeof [object Number], but now is [object String]",
            ),
            (
                json!({ "env_x": 5 }),
                "Expect \"env_x\" to be a typeof [object Object] / [object String], but now is [object Number]",
            ),
            (
                json!({ "min_uptime": 50 }),
                "The minimum of \"min_uptime\" is 100, but now is 50",
            ),
            (
                json!({ "max_restarts": -1 }),
                "The minimum of \"max_restarts\" is 0, but now is -1",
            ),
            (
                json!({ "exec_mode": "bogus" }),
                "Verify \"exec_mode\" with regex failed, it should be \"cluster\"(\"cluster_mode\") or \"fork\"(\"fork_mode\") only",
            ),
            (
                json!({ "name": 5, "out": true }),
                "Expect \"name\" to be a typeof [object String], but now is [object Number]\nExpect \"out_file\" to be a typeof [object String], but now is [object Boolean]",
            ),
        ] {
            assert_eq!(run(raw).unwrap_err(), text);
        }
        assert!(
            run(json!({ "max_memory_restart": "10m" }))
                .unwrap_err()
                .contains("with regex failed")
        );
    }

    #[test]
    fn values_are_converted_and_sorted() {
        assert_eq!(
            run(json!({ "killTimeout": "3000", "unknown": 1, "env_prod": { "A": 1 }, "min_uptime": "2s", "interpreter": "bash",
                "max_memory_restart": "10M", "name": "x", "ignore_watch": "a b", "watch": null, "restart_delay": 0, "uid": 0 }))
            .unwrap(),
            "{\"name\":\"x\",\"exec_interpreter\":\"bash\",\"max_memory_restart\":10485760,\"kill_timeout\":3000,\"vizion\":true,\
             \"autostart\":true,\"autorestart\":true,\"ignore_watch\":[\"a\",\"b\"],\"min_uptime\":2000,\
             \"instance_var\":\"NODE_APP_INSTANCE\",\"pmx\":true,\"automation\":true,\"treekill\":true,\"uid\":0,\"windowsHide\":true,\
             \"kill_retry_time\":100,\"env_prod\":{\"A\":1}}"
        );
    }
}
