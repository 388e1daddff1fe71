//! Values as node's `util.inspect` writes them: `prettylist`, `id`, `ping` and their kind.

use crate::js;
use serde_json::Value;

/// How to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Objects nested deeper than this become `[Object]`; `None` writes everything.
    pub depth: Option<usize>,
    /// Width in columns that a line should keep.
    pub break_length: usize,
}

impl Options {
    /// What `console.log` does: depth 2, 80 columns.
    pub const CONSOLE: Options = Options {
        depth: Some(2),
        break_length: 80,
    };
    /// What `prettylist` does: everything, 80 columns.
    pub const FULL: Options = Options {
        depth: None,
        break_length: 80,
    };
}

const COMPACT: usize = 3;
const MAX_ARRAY: usize = 100;
const MAX_STRING: usize = 10_000;
/// Text shorter than this is never split into lines.
const MIN_SPLIT: usize = 16;

/// The value as text, without a newline at the end.
pub fn inspect(value: &Value, options: Options) -> String {
    let mut writer = Writer {
        options,
        indent: 0,
        deepest: 0,
    };
    writer.value(value, 0)
}

struct Writer {
    options: Options,
    indent: usize,
    /// Level of the object that was entered last.
    deepest: usize,
}

impl Writer {
    fn value(&mut self, value: &Value, level: usize) -> String {
        match value {
            Value::Null => "null".into(),
            Value::Bool(b) => b.to_string(),
            Value::Number(n) if n.as_f64().is_some_and(|f| f == 0.0 && f.is_sign_negative()) => "-0".into(),
            Value::Number(n) => js::number(n),
            Value::String(s) => self.text(s),
            Value::Array(items) if items.is_empty() => "[]".into(),
            Value::Object(map) if map.is_empty() => "{}".into(),
            Value::Array(_) if self.too_deep(level) => "[Array]".into(),
            Value::Object(_) if self.too_deep(level) => "[Object]".into(),
            Value::Array(items) => {
                self.deepest = level + 1;
                let mut entries: Vec<String> = items
                    .iter()
                    .take(MAX_ARRAY)
                    .map(|item| self.nested(item, level + 1))
                    .collect();
                let more = items.len().saturating_sub(MAX_ARRAY);
                if more > 0 {
                    entries.push(format!("... {more} more item{}", if more > 1 { "s" } else { "" }));
                }
                let count = entries.len();
                if count > 6 {
                    entries = self.columns(entries, items, more > 0);
                }
                self.brackets(&entries, entries.len() == count, ('[', ']'), level + 1)
            }
            Value::Object(map) => {
                self.deepest = level + 1;
                let entries: Vec<String> = map
                    .iter()
                    .map(|(key, value)| {
                        let value = self.nested(value, level + 1);
                        format!("{}: {value}", property_name(key))
                    })
                    .collect();
                self.brackets(&entries, true, ('{', '}'), level + 1)
            }
        }
    }

    fn too_deep(&self, level: usize) -> bool {
        self.options.depth.is_some_and(|depth| level > depth)
    }

    fn nested(&mut self, value: &Value, level: usize) -> String {
        self.indent += 2;
        let text = self.value(value, level);
        self.indent -= 2;
        text
    }

    /// On one line if little is nested inside and it fits, else one entry per line.
    fn brackets(
        &self,
        entries: &[String],
        ungrouped: bool,
        (open, close): (char, char),
        level: usize,
    ) -> String {
        if ungrouped && self.deepest - level < COMPACT && self.fits(entries) {
            return format!("{open} {} {close}", entries.join(", "));
        }
        let pad = " ".repeat(self.indent);
        format!(
            "{open}\n{pad}  {}\n{pad}{close}",
            entries.join(&format!(",\n{pad}  "))
        )
    }

    fn fits(&self, entries: &[String]) -> bool {
        let start = entries.len() + self.indent + 1 + 10;
        let length = entries.len() + start + entries.iter().map(|e| width(e)).sum::<usize>();
        length <= self.options.break_length && !entries.iter().any(|e| e.contains('\n'))
    }

    /// Packs the entries of a long array into aligned columns, if they are of similar length.
    fn columns(&self, entries: Vec<String>, items: &[Value], cut: bool) -> Vec<String> {
        let shown = entries.len() - usize::from(cut);
        let lengths: Vec<usize> = entries[..shown].iter().map(|e| width(e)).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let total: usize = lengths.iter().map(|len| len + 2).sum();
        let cell = longest + 2;
        let similar = total as f64 / cell as f64 > 5.0 || longest <= 6;
        if cell * 3 + self.indent >= self.options.break_length || !similar {
            return entries;
        }
        let bias = (cell as f64 - total as f64 / entries.len() as f64).sqrt();
        let biased = (cell as f64 - 3.0 - bias).max(1.0);
        // A square looks best, with a character two and a half times as high as wide.
        let square = ((2.5 * biased * shown as f64).sqrt() / biased + 0.5).floor() as usize;
        let columns = square
            .min((self.options.break_length - self.indent) / cell)
            .min(COMPACT * 4)
            .min(15);
        if columns <= 1 {
            return entries;
        }
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                lengths
                    .iter()
                    .skip(column)
                    .step_by(columns)
                    .copied()
                    .max()
                    .unwrap_or(0)
                    + 2
            })
            .collect();
        let numbers = items.iter().take(entries.len()).all(Value::is_number);
        let mut lines: Vec<String> = Vec::new();
        for (row, from) in (0..shown).step_by(columns).enumerate() {
            let to = (from + columns).min(shown);
            let mut line = String::new();
            for at in from..to {
                let last = at + 1 == to;
                let text = if last {
                    entries[at].clone()
                } else {
                    format!("{}, ", entries[at])
                };
                let have = lengths[at] + if last { 0 } else { 2 };
                let pad = widths[at - row * columns] - if last { 2 } else { 0 };
                let blanks = " ".repeat(pad.saturating_sub(have));
                match (numbers, last) {
                    (true, _) => line.push_str(&(blanks + &text)),
                    (false, false) => line.push_str(&(text + &blanks)),
                    (false, true) => line.push_str(&text),
                }
            }
            lines.push(line);
        }
        if cut {
            lines.extend(entries.last().cloned());
        }
        lines
    }

    fn text(&self, text: &str) -> String {
        let (shown, trailer) = cut(text);
        let length = utf16_len(shown);
        if length > MIN_SPLIT && length + self.indent + 4 > self.options.break_length {
            let pieces: Vec<String> = shown.split_inclusive('\n').map(quote).collect();
            return pieces.join(&format!(" +\n{}", " ".repeat(self.indent + 2))) + &trailer;
        }
        quote(shown) + &trailer
    }
}

/// Text of more than 10000 UTF-16 units is cut; the second part says by how much.
fn cut(text: &str) -> (&str, String) {
    if text.len() <= MAX_STRING {
        return (text, String::new());
    }
    let mut units = 0;
    let Some((at, _)) = text.char_indices().find(|(_, c)| {
        units += c.len_utf16();
        units > MAX_STRING
    }) else {
        return (text, String::new());
    };
    let more = utf16_len(&text[at..]);
    (
        &text[..at],
        format!("... {more} more character{}", if more > 1 { "s" } else { "" }),
    )
}

fn utf16_len(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

fn width(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        utf16_len(text)
    }
}

fn property_name(key: &str) -> String {
    let bare = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    match key {
        "__proto__" => "['__proto__']".into(),
        _ if bare => key.to_owned(),
        _ => quote(key),
    }
}

/// A string literal in the quotes that need the least escaping.
fn quote(text: &str) -> String {
    let mark = match text.contains('\'') {
        true if !text.contains('"') => '"',
        true if !text.contains('`') && !text.contains("${") => '`',
        _ => '\'',
    };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(mark);
    for c in text.chars() {
        match c {
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\\' => out.push_str("\\\\"),
            '\'' if mark == '\'' => out.push_str("\\'"),
            '\0'..='\x1f' | '\x7f'..='\u{9f}' => out.push_str(&format!("\\x{:02X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push(mark);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(value: &Value, text: &str) {
        assert_eq!(inspect(value, Options::FULL), text);
    }

    #[test]
    fn small_answers() {
        check(&json!({ "msg": "pong" }), "{ msg: 'pong' }");
        check(&json!([0]), "[ 0 ]");
        check(&json!([]), "[]");
        check(
            &json!({ "a b": { "x": [] }, "__proto__": 1 }),
            "{ 'a b': { x: [] }, ['__proto__']: 1 }",
        );
    }

    #[test]
    fn quotes() {
        check(&json!("it's"), "\"it's\"");
        check(&json!("it's \"x\""), "`it's \"x\"`");
        check(&json!("it's \"x\" `y`"), "'it\\'s \"x\" `y`'");
        check(&json!("a\n\u{1b}[0m\\\u{7f}"), "'a\\n\\x1B[0m\\\\\\x7F'");
    }

    #[test]
    fn depth_is_limited_for_the_console() {
        let deep = json!({ "a": { "b": { "c": { "d": 1 }, "e": [1] } } });
        assert_eq!(
            inspect(&deep, Options::CONSOLE),
            "{ a: { b: { c: [Object], e: [Array] } } }"
        );
    }

    #[test]
    fn long_text_is_cut() {
        let text = "x".repeat(10_001);
        assert!(inspect(&json!(text), Options::FULL).ends_with("x'... 1 more character"));
    }

    /// Each pair was recorded from node 20: `util.inspect(value, {depth: null})`.
    #[test]
    fn as_node_writes_it() {
        let cases: Vec<(Value, String)> =
            serde_json::from_str(include_str!("../tests/fixtures/inspect.json")).unwrap();
        assert!(cases.len() > 30);
        for (value, text) in cases {
            check(&value, &text);
        }
    }
}
