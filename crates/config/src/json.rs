//! JSON: strict first, then JSON5, then, as PM2 would, as an expression by node.

use crate::{Diagnostic, Fault, Options, javascript};
use serde_json::Value;

pub(crate) fn parse(name: &str, text: &str, options: &Options) -> Result<Value, Diagnostic> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    if text.trim().is_empty() {
        return Err(Diagnostic::new(Fault::Malformed, name, "it is empty")
            .help("write { \"apps\": [ { \"script\": \"app.js\" } ] }"));
    }
    // The parser recurses; what is nested deeper than any configuration goes to nobody.
    if depth(text) > 200 {
        return Err(Diagnostic::new(
            Fault::Malformed,
            name,
            "it is nested more than 200 levels deep",
        ));
    }
    let error = match json5::from_str::<Value>(text) {
        Ok(value) => return Ok(whole_numbers(value)),
        Err(error) => error,
    };
    let looks_like_code = text.contains(['(', '`', '+']) || text.contains("...") || text.contains("process.");
    if looks_like_code && let Ok(value) = javascript::evaluate_expression(name, text, options) {
        return Ok(value);
    }
    if let Some((word, at)) = bare_word(text) {
        return Err(Diagnostic::new(
            Fault::Malformed,
            name,
            format!("the JSON can't be read: it begins with `{word}`, where {{ or [ is expected"),
        )
        .at_offset(text, at)
        .help("write { \"apps\": [ { \"script\": \"app.js\" } ] }"));
    }
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or("").to_owned();
    let mut diagnostic = Diagnostic::new(
        Fault::Malformed,
        name,
        format!("the JSON can't be read: {message}"),
    );
    if let Some(position) = error.position() {
        diagnostic = diagnostic.at(text, position.line + 1, position.column + 1);
    }
    Err(diagnostic.help("look for a missing comma, quote or bracket at this place or just before it"))
}

/// The word that the text begins with, if it begins with one, and where: it is no JSON then, but perhaps YAML.
fn bare_word(text: &str) -> Option<(&str, usize)> {
    let start = text.trim_start();
    let word = start
        .split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$')))
        .next()?;
    let is_word = word.starts_with(char::is_alphabetic);
    is_word.then(|| (word, text.len() - start.len()))
}

/// Brackets open at once, at most; quotes are not looked at, so it is an upper bound.
fn depth(text: &str) -> usize {
    let mut now = 0usize;
    let mut most = 0;
    for b in text.bytes() {
        match b {
            b'{' | b'[' => {
                now += 1;
                most = most.max(now);
            }
            b'}' | b']' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// `3000.0` is `3000` to JavaScript, and to the variables of a child.
pub(crate) fn whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(n) if n.is_f64() => pm2::js::json_number(n.as_f64().unwrap_or(f64::NAN)),
        Value::Array(items) => items.into_iter().map(whole_numbers).collect(),
        Value::Object(map) => Value::Object(map.into_iter().map(|(k, v)| (k, whole_numbers(v))).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(text: &str) -> Result<Value, Diagnostic> {
        let no_node = Options {
            node: Some("/nonexistent/node".into()),
            ..Options::default()
        };
        parse("x.json", text, &no_node)
    }

    #[test]
    fn people_write_more_than_json() {
        let text = "// apps\n{ apps: [{ name: 'a', script: \"app.js\", /* why */ port: 0x10, n: 1e3, }], }";
        assert_eq!(
            run(text).unwrap(),
            json!({ "apps": [{ "name": "a", "script": "app.js", "port": 16, "n": 1000 }] })
        );
    }

    #[test]
    fn a_mistake_has_a_place() {
        let d = run("{\n  \"apps\": [{\n    \"name\": \"a\"\n    \"script\": \"b\"\n  }]\n}").unwrap_err();
        assert_eq!((d.line, d.column), (Some(4), Some(5)), "{d}");
        assert!(
            d.to_string().contains(" 4 |     \"script\": \"b\"\n   |     ^"),
            "{d}"
        );
        assert!(run("").unwrap_err().message.contains("empty"));
        let d = run("\nname: app\n").unwrap_err();
        assert_eq!((d.line, d.column), (Some(2), Some(1)), "{d}");
        assert!(d.message.contains("begins with `name`"), "{d}");
        assert!(run(&"[".repeat(100_000)).unwrap_err().message.contains("deep"));
    }
}
