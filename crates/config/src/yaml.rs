//! YAML as js-yaml reads it.

use crate::{Diagnostic, Fault};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;
use std::fmt;

pub(crate) fn parse(name: &str, text: &str) -> Result<Value, Diagnostic> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::PassThrough,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Node>>(text, options) {
        Ok(node) => Ok(resolve(node, text)),
        Err(error) => {
            let error = error.without_snippet();
            let mut diagnostic = Diagnostic::new(
                Fault::Malformed,
                name,
                format!("the YAML can't be read: {}", plain(&error.to_string())),
            );
            if let Some(at) = error.location() {
                diagnostic = diagnostic.at(text, at.line() as usize, at.column() as usize);
            }
            Err(diagnostic.help("look at the indentation (blanks, no tabs) and at text that needs quotes"))
        }
    }
}

/// The parser's words without the place, which is shown apart.
fn plain(message: &str) -> String {
    let message = message.lines().next().unwrap_or("");
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let cut = message
        .find(" at line ")
        .or_else(|| message.find(" (line "))
        .unwrap_or(message.len());
    let rest = message[..cut].trim_end_matches([':', ',', ' ']);
    match rest.strip_prefix("line ").and_then(|r| r.split_once(": ")) {
        Some((_, words)) => words.to_owned(),
        None => rest.to_owned(),
    }
}

/// A value with the places of its parts, because some plain scalars mean something else to js-yaml.
enum Node {
    Plain(Value),
    Float(f64),
    List(Vec<Spanned<Node>>),
    Map(Vec<(String, Spanned<Node>)>),
}

fn resolve(node: Spanned<Node>, text: &str) -> Value {
    let written = || {
        let span = node.defined.span();
        let from = span.byte_offset()? as usize;
        text.get(from..from + span.byte_len()? as usize).map(str::trim)
    };
    match node.value {
        // To js-yaml 4 `1_000` is text.
        Node::Plain(Value::Number(_)) | Node::Float(_) if written().is_some_and(is_grouped) => {
            Value::String(written().unwrap_or_default().to_owned())
        }
        Node::Plain(value) => value,
        Node::Float(n) => pm2::js::json_number(n),
        Node::List(items) => items.into_iter().map(|item| resolve(item, text)).collect(),
        Node::Map(pairs) => Value::Object(
            pairs
                .into_iter()
                .map(|(k, v)| (k, resolve(v, text)))
                .collect::<Map<_, _>>(),
        ),
    }
}

fn is_grouped(text: &str) -> bool {
    text.contains('_')
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'+' | b'-'))
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Node, E> {
        Ok(Node::Plain(v.into()))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Node, E> {
        Ok(Node::Plain(v.into()))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Node, E> {
        Ok(Node::Plain(v.into()))
    }
    fn visit_i128<E>(self, v: i128) -> Result<Node, E> {
        Ok(Node::Float(v as f64))
    }
    fn visit_u128<E>(self, v: u128) -> Result<Node, E> {
        Ok(Node::Float(v as f64))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Node, E> {
        Ok(Node::Float(v))
    }
    fn visit_str<E>(self, v: &str) -> Result<Node, E> {
        Ok(Node::Plain(v.into()))
    }
    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Plain(Value::Null))
    }
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Plain(Value::Null))
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut pairs = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            pairs.push((key, map.next_value()?));
        }
        Ok(Node::Map(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(text: &str) -> Value {
        parse("x.yaml", text).unwrap_or_else(|d| panic!("{d}"))
    }

    #[test]
    fn scalars_are_js_yamls() {
        // Right: what js-yaml 4 gives, dates apart, which are text here.
        for (text, value) in [
            ("yes", json!("yes")),
            ("on", json!("on")),
            ("No", json!("No")),
            ("y", json!("y")),
            ("true", json!(true)),
            ("012", json!(12)),
            ("00", json!(0)),
            ("08", json!(8)),
            ("1_000", json!("1_000")),
            ("1e3", json!(1000)),
            ("1.", json!(1)),
            ("1.5", json!(1.5)),
            (".inf", json!(null)),
            ("2001-12-14", json!("2001-12-14")),
            ("~", json!(null)),
            ("null", json!(null)),
            ("0x1F", json!(31)),
            ("'1_000'", json!("1_000")),
            ("'5'", json!("5")),
            ("5", json!(5)),
            ("-5", json!(-5)),
            ("10M", json!("10M")),
            ("a_b", json!("a_b")),
            ("\"\"", json!("")),
            ("12345678901234567890", json!(12345678901234567890u64)),
        ] {
            assert_eq!(run(&format!("v: {text}"))["v"], value, "{text}");
            assert_eq!(run(&format!("- {text}\n- x"))[0], value, "{text}");
        }
        assert_eq!(run("v:\nw: 1"), json!({ "v": null, "w": 1 }));
    }

    #[test]
    fn files_are_read() {
        let text = "apps:\n  - &base\n    script: app.js\n    name: a\n    env: { PORT: 3000, ON: 'yes' }\n  - <<: *base\n    name: b\n    args: |\n      one\n      1_000\n";
        assert_eq!(
            run(text),
            json!({ "apps": [
                { "script": "app.js", "name": "a", "env": { "PORT": 3000, "ON": "yes" } },
                { "script": "app.js", "name": "b", "env": { "PORT": 3000, "ON": "yes" }, "args": "one\n1_000\n" },
            ] })
        );
    }

    #[test]
    fn a_mistake_has_a_place() {
        let fail = |text: &str| parse("x.yaml", text).unwrap_err();
        let d = fail("apps:\n  - name: a\n   script: b\n");
        assert_eq!((d.line, d.source.is_some()), (Some(3), true), "{d}");
        let d = fail("apps:\n  - name: a\n    name: b\n");
        assert_eq!(d.line, Some(3), "{d}");
        assert!(d.message.contains("duplicate"), "{d}");
        let d = fail("a: [1, 2\n");
        assert!(d.line.is_some() && d.help.is_some(), "{d}");
        assert!(parse("x.yaml", &"[".repeat(50_000)).is_err());
    }
}
