//! TOML: `[[apps]]` for each app, the same attributes as elsewhere.

use crate::{Diagnostic, Fault};
use ::toml::Value as Toml;
use serde_json::Value;

pub(crate) fn parse(name: &str, text: &str) -> Result<Value, Diagnostic> {
    match text.parse::<::toml::Table>() {
        Ok(table) => Ok(plain(Toml::Table(table))),
        Err(error) => {
            let message = error.message().lines().next().unwrap_or("").to_owned();
            let mut diagnostic = Diagnostic::new(
                Fault::Malformed,
                name,
                format!("the TOML can't be read: {message}"),
            );
            if let Some(span) = error.span() {
                diagnostic = diagnostic.at_offset(text, span.start);
            }
            Err(diagnostic.help("text stands in quotes; an app begins with a line [[apps]]"))
        }
    }
}

fn plain(value: Toml) -> Value {
    match value {
        Toml::String(text) => text.into(),
        Toml::Integer(n) => n.into(),
        Toml::Float(n) => pm2::js::json_number(n),
        Toml::Boolean(b) => b.into(),
        // JSON has no dates.
        Toml::Datetime(at) => at.to_string().into(),
        Toml::Array(items) => items.into_iter().map(plain).collect(),
        Toml::Table(table) => Value::Object(table.into_iter().map(|(k, v)| (k, plain(v))).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn apps_are_read() {
        let text = "[[apps]]\nname = \"api\"\nscript = \"a.js\"\ninstances = 2\nargs = [\"-p\", \"80\"]\n\
                    [apps.env]\nPORT = 8080\nRATIO = 0.5\nSINCE = 2026-01-02\n[[apps]]\nscript = 'b.py'\nwatch = true\n";
        assert_eq!(
            parse("x.toml", text).unwrap(),
            json!({ "apps": [
                { "name": "api", "script": "a.js", "instances": 2, "args": ["-p", "80"],
                  "env": { "PORT": 8080, "RATIO": 0.5, "SINCE": "2026-01-02" } },
                { "script": "b.py", "watch": true },
            ] })
        );
    }

    #[test]
    fn a_mistake_has_a_place() {
        let error = parse("x.toml", "[[apps]]\nname = api\n").unwrap_err();
        assert_eq!(error.line, Some(2), "{error}");
        assert!(parse("x.toml", &"[".repeat(100_000)).is_err());
        assert!(parse("x.toml", &format!("a = {}", "[".repeat(100_000))).is_err());
    }
}
