//! Where in a file's text an app's attribute stands.
//!
//! A file that could be read has become values, which know nothing of their places. For a complaint about a value the text is
//! looked through again: all keys with their places, grouped by the object, block or table that holds them; then the group whose
//! name or script is the app's. What a program computed is not in the text, and then there is no place to tell.

use crate::Format;

/// Names of the attribute that every app has.
pub(crate) const SCRIPT: [&str; 4] = ["script", "exec", "cmd", "command"];

/// A key with its place and what is written behind it.
#[derive(Debug, PartialEq, Eq)]
struct Key<'t> {
    group: usize,
    offset: usize,
    name: &'t str,
    value: &'t str,
}

/// Byte offset of one of `names` in the app that is the `nth` (from 0) to have the pair `anchor`. Without that attribute: of the
/// anchor itself.
pub(crate) fn locate(
    text: &str,
    format: Format,
    anchor: (&str, &str),
    nth: usize,
    names: &[&str],
) -> Option<usize> {
    let keys = match format {
        Format::Json | Format::JavaScript => braces(text),
        Format::Yaml => yaml(text),
        Format::Toml => toml(text),
    };
    // The environment of another app may hold the same pair; what says what to run is an app.
    let runs = |group| {
        let mut of_group = keys.iter().filter(|key| key.group == group);
        of_group.any(|key| SCRIPT.contains(&key.name))
    };
    let named = || {
        keys.iter()
            .filter(|key| key.name == anchor.0 && key.value == anchor.1)
    };
    // The mistake may be that an app does not say what to run.
    let anchor = named()
        .filter(|key| runs(key.group))
        .nth(nth)
        .or_else(|| named().nth(nth))?;
    let found = keys
        .iter()
        .find(|key| key.group == anchor.group && names.contains(&key.name));
    Some(found.unwrap_or(anchor).offset)
}

/// Objects in JSON and JavaScript: a key is a word or text before a colon, directly inside braces.
fn braces(text: &str) -> Vec<Key<'_>> {
    let bytes = text.as_bytes();
    let mut keys: Vec<Key<'_>> = Vec::new();
    // Groups that are open; a list is none.
    let mut open: Vec<Option<usize>> = Vec::new();
    let mut groups = 0;
    // The last word or text, which a colon makes a key.
    let mut last: Option<(usize, &str)> = None;
    // The key that a value is awaited for.
    let mut awaiting: Option<usize> = None;
    let mut at = 0;
    while at < bytes.len() {
        let from = at;
        match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at = text[at..].find('\n').map_or(bytes.len(), |end| at + end);
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                at = text[at + 2..]
                    .find("*/")
                    .map_or(bytes.len(), |end| at + 2 + end + 2);
                continue;
            }
            quote @ (b'"' | b'\'' | b'`') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at = (at + 1).min(bytes.len());
                let inner = text
                    .get(from + 1..at.saturating_sub(1).max(from + 1))
                    .unwrap_or("");
                if let Some(key) = awaiting.take() {
                    keys[key].value = inner;
                }
                last = Some((from, inner));
                continue;
            }
            b'{' => {
                groups += 1;
                open.push(Some(groups));
                (last, awaiting) = (None, None);
            }
            b'[' | b'(' => {
                open.push(None);
                (last, awaiting) = (None, None);
            }
            b'}' | b']' | b')' => {
                open.pop();
                (last, awaiting) = (None, None);
            }
            b':' => {
                if let (Some((offset, name)), Some(Some(group))) = (last.take(), open.last()) {
                    awaiting = Some(keys.len());
                    keys.push(Key {
                        group: *group,
                        offset,
                        name,
                        value: "",
                    });
                }
            }
            b',' | b';' => (last, awaiting) = (None, None),
            b if is_word(b) => {
                while at < bytes.len() && is_word(bytes[at]) {
                    at += 1;
                }
                let word = &text[from..at];
                if let Some(key) = awaiting.take() {
                    keys[key].value = word;
                }
                last = Some((from, word));
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    keys
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'-' | b'.') || !b.is_ascii()
}

/// Block mappings in YAML: keys of one column in one item of a list.
fn yaml(text: &str) -> Vec<Key<'_>> {
    if text.contains('{') {
        let flow = braces(text);
        if flow.iter().any(|key| key.name == "script") {
            return flow;
        }
    }
    let mut keys = Vec::new();
    // Column and group of the mappings that are open.
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut groups = 0;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let offset = start;
        start += line.len();
        let mut rest = line.trim_end();
        let mut column = rest.len() - rest.trim_start().len();
        rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with('#') {
            continue;
        }
        while let Some(item) = rest.strip_prefix('-').filter(|item| item.starts_with(' ')) {
            // An item of a list ends every mapping that is deeper than its dash.
            open.retain(|(of, _)| *of <= column);
            column += rest.len() - item.trim_start().len();
            rest = item.trim_start();
        }
        let Some((name, value)) = rest.split_once(':') else {
            continue;
        };
        if !(value.is_empty() || value.starts_with(' ')) {
            continue;
        }
        open.retain(|(of, _)| *of <= column);
        let group = match open.last() {
            Some((of, group)) if *of == column => *group,
            _ => {
                groups += 1;
                open.push((column, groups));
                groups
            }
        };
        let value = value.split(" #").next().unwrap_or("");
        keys.push(Key {
            group,
            offset: offset + column,
            name: unquoted(name),
            value: unquoted(value),
        });
    }
    keys
}

/// Tables in TOML: what stands below one header.
fn toml(text: &str) -> Vec<Key<'_>> {
    let mut keys = Vec::new();
    let (mut group, mut start) = (0, 0);
    for line in text.split_inclusive('\n') {
        let offset = start;
        start += line.len();
        let trimmed = line.trim_start();
        if trimmed.starts_with('[') {
            group += 1;
        } else if let Some((name, value)) = trimmed.split_once('=') {
            keys.push(Key {
                group,
                offset: offset + (line.len() - trimmed.len()),
                name: unquoted(name),
                value: unquoted(value.split(" #").next().unwrap_or("")),
            });
        }
    }
    keys
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    ['"', '\'']
        .iter()
        .find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line and column, from 1.
    fn place(text: &str, format: Format, name: &str, attribute: &str) -> Option<(usize, usize)> {
        let offset = locate(text, format, ("name", name), 0, &[attribute])?;
        let before = &text[..offset];
        Some((
            before.matches('\n').count() + 1,
            before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1,
        ))
    }

    #[test]
    fn objects() {
        let text = "// name: 'b'\nconst script = 'x'; module.exports = { apps: [\n  { name: 'a', env: { name: 'b', kill: 1 }, kill: 2, exec: 'e' },\n\
                    \n  { \"name\": \"b\", /* kill: 3 */ script: `x`, kill: f({ kill: 4 }) }] }";
        assert_eq!(place(text, Format::JavaScript, "a", "kill"), Some((3, 45)));
        assert_eq!(place(text, Format::JavaScript, "nobody", "kill"), None);
        // The environment above has the same name, and no script.
        assert_eq!(
            place(text, Format::JavaScript, "b", "kill").map(|(line, _)| line),
            Some(5)
        );
        let offset = locate(text, Format::JavaScript, ("script", "x"), 0, &["kill"]).unwrap();
        assert!(text[offset..].starts_with("kill: f("));
        // An attribute that is not there: the app itself.
        assert_eq!(place(text, Format::JavaScript, "a", "watch"), Some((3, 5)));
        assert!(braces("{ 'unclosed").is_empty());
        assert!(braces(&"{[(".repeat(50_000)).is_empty());
    }

    #[test]
    fn blocks() {
        let text = "apps:\n  - name: a\n    env:\n      kill: 1\n    kill: 2 # why\n    cmd: x\n  -   name: 'b'\n      kill: 3\n      cmd: y\nother:\n  kill: 4\n";
        assert_eq!(place(text, Format::Yaml, "a", "kill"), Some((5, 5)));
        assert_eq!(place(text, Format::Yaml, "b", "kill"), Some((8, 7)));
        let flow = "apps: [{ name: a, script: x, kill: 1 }]\n";
        assert_eq!(place(flow, Format::Yaml, "a", "kill"), Some((1, 30)));
    }

    #[test]
    fn tables() {
        let text = "[[apps]]\nname = \"a\"\nkill = 1\nscript = \"x\"\n[apps.env]\nkill = 2\n[[apps]]\n name = 'b' # second\n kill = 3\n script = \"y\"\n";
        assert_eq!(place(text, Format::Toml, "a", "kill"), Some((3, 1)));
        assert_eq!(place(text, Format::Toml, "b", "kill"), Some((9, 2)));
    }

    #[test]
    fn whatever_the_text_it_is_survived() {
        for text in [
            "", "'", "\"\\", "/*", "//", "ü: {", "{ü:'\\", "- - -", "-", ": :", "=", "[", "`${`",
        ] {
            for format in [Format::Json, Format::Yaml, Format::Toml] {
                let found = locate(text, format, ("a", "b"), 0, &["c"]);
                assert_eq!(found, None, "{text}");
            }
        }
    }
}
