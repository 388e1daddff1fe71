//! `dump.pm2`: the list that `save` writes and `resurrect` reads.
//!
//! Pure text in and out. Where the file is, its backup, and what to do with a broken one is the caller's business; a broken
//! file must be kept aside, never overwritten.

use crate::Object;
use crate::env::{Pm2Env, serialize_all};
use serde::{Serialize, Serializer};
use serde_json::Value;
use thiserror::Error;

/// Left out of a dump: they are chosen anew when the entry comes back.
const LEFT_OUT: [&str; 4] = ["instances", "pm_id", "prev_restart_delay", Pm2Env::LOAD_ERROR];

/// A dump that can't be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DumpError {
    /// Not JSON.
    #[error("reading a dump: not JSON at line {line}, column {column}: {reason}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The parser's words.
        reason: String,
    },
    /// JSON, but no list.
    #[error("reading a dump: it holds {0} where a list of processes is expected")]
    NoList(&'static str),
    /// An element that no process can be made of.
    #[error("reading a dump: element {index} ({name}): {reason}")]
    Element {
        /// Position, from 0.
        index: usize,
        /// Its name as far as it has one.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
}

/// The text of a dump with two blanks of indentation, as `save` writes it. Modules are left out. `entries` must come in the order
/// of their numbers.
pub fn write<'a>(entries: impl IntoIterator<Item = &'a Pm2Env>) -> String {
    let list: Vec<Element<'_>> = entries
        .into_iter()
        .filter(|env| !env.is_module())
        .map(Element)
        .collect();
    // A map with text keys always has a JSON form.
    serde_json::to_string_pretty(&list).unwrap_or_else(|_| "[]".into())
}

/// One element, on its way out.
struct Element<'a>(&'a Pm2Env);

impl Serialize for Element<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kept = self.0.fields().iter();
        serialize_all(kept.filter(|(key, _)| !LEFT_OUT.contains(key)), serializer)
    }
}

/// The elements of a dump, each ready for `prepare`. Dumps of PM2 5, 6 and 7 are read, also those of `jlist` shape
/// (`{pm2_env: {...}}`), which older releases and other tools write.
pub fn read(text: &str) -> Result<Vec<Object>, DumpError> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(DumpError::Syntax {
            line: 1,
            column: 1,
            reason: "the file is empty".into(),
        });
    }
    let value: Value = serde_json::from_str(text).map_err(|e| DumpError::Syntax {
        line: e.line(),
        column: e.column(),
        reason: plain_reason(&e),
    })?;
    let Value::Array(items) = value else {
        return Err(DumpError::NoList(kind(&value)));
    };
    items
        .into_iter()
        .enumerate()
        .map(|(index, item)| read_element(index, item))
        .collect()
}

fn read_element(index: usize, item: Value) -> Result<Object, DumpError> {
    let error = |name: &str, reason| DumpError::Element {
        index,
        name: name.to_owned(),
        reason,
    };
    let Value::Object(mut map) = item else {
        return Err(error("no name", "it is not an object"));
    };
    if let Some(Value::Object(inner)) = map.get_mut("pm2_env") {
        map = std::mem::take(inner);
    }
    for key in LEFT_OUT {
        map.shift_remove(key);
    }
    let name = map
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or("no name")
        .to_owned();
    if !matches!(map.get("pm_exec_path"), Some(Value::String(path)) if !path.is_empty()) {
        return Err(error(&name, "pm_exec_path, the script's path, is missing"));
    }
    if name == "no name" {
        return Err(error(&name, "it has no name"));
    }
    if !matches!(map.get("env"), None | Some(Value::Object(_) | Value::Null)) {
        return Err(error(&name, "env is not an object"));
    }
    Ok(map)
}

pub(crate) fn plain_reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "one object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn env(value: Value) -> Pm2Env {
        let Value::Object(map) = value else {
            panic!("an object")
        };
        Pm2Env::from(map)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let app = env(
            json!({ "name": "a", "pm_exec_path": "/a.js", "pm_id": 3, "instances": 2, "env": { "A": "1" } }),
        );
        let module = env(json!({ "name": "m", "pm_exec_path": "/m.js", "pmx_module": true }));
        let text = write([&app, &module]);
        assert_eq!(
            text,
            "[\n  {\n    \"name\": \"a\",\n    \"pm_exec_path\": \"/a.js\",\n    \"env\": {\n      \"A\": \"1\"\n    }\n  }\n]"
        );
        let back = read(&text).unwrap();
        assert_eq!(back.len(), 1);
        assert_eq!(back[0].get("env"), Some(&json!({ "A": "1" })));
        assert_eq!(write([]), "[]");
        assert_eq!(read("[]").unwrap(), Vec::<Object>::new());
    }

    #[test]
    fn older_dumps_are_read() {
        // PM2 5 keeps numbers of the old list and booleans as text; a jlist saved by hand has another layer.
        let five = r#"[{"autorestart":"true","name":"old","pm_exec_path":"/o.js","pm_id":4,"instances":1,"status":"stopped","env":{}}]"#;
        let elements = read(five).unwrap();
        assert!(!elements[0].contains_key("pm_id") && elements[0]["status"] == "stopped");
        let listed = r#"[{"pid":1,"name":"x","pm2_env":{"name":"x","pm_exec_path":"/x"},"pm_id":0}]"#;
        assert_eq!(read(listed).unwrap()[0]["pm_exec_path"], "/x");
    }

    #[test]
    fn broken_dumps_say_what_and_where() {
        let text = |t: &str| read(t).unwrap_err().to_string();
        assert_eq!(
            text("[\n {\"name\": }\n]"),
            "reading a dump: not JSON at line 2, column 11: expected value"
        );
        assert_eq!(
            text("{}"),
            "reading a dump: it holds one object where a list of processes is expected"
        );
        assert_eq!(
            text(r#"[{"name":"a","pm_exec_path":"/a"},{"name":"b"}]"#),
            "reading a dump: element 1 (b): pm_exec_path, the script's path, is missing"
        );
        assert_eq!(
            text(" "),
            "reading a dump: not JSON at line 1, column 1: the file is empty"
        );
        assert_eq!(
            text("[7]"),
            "reading a dump: element 0 (no name): it is not an object"
        );
        assert!(text(&"[".repeat(100_000)).contains("recursion limit"));
    }
}
