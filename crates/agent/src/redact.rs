//! What never leaves the host: environments, and values under names that sound like secrets.
//!
//! Apps hand over whole requests and PM2's own messages hold the environment of the app; this is the one place that
//! looks at such data before it is kept or sent.

use serde_json::Value;

/// Objects under these names are environments: dropped whole.
const ENVIRONMENTS: &[&str] = &["env", "pm2_env", "environment", "process_env"];
/// A name that contains one of these, whatever its case and separators, is a secret's.
const SECRETS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "authorization",
    "cookie",
    "credential",
    "privatekey",
    "accesskey",
    "sessionid",
    "creditcard",
    "cardnumber",
    "cvv",
];
/// What stands in the place of what is hidden.
pub const HIDDEN: &str = "[redacted]";
/// JSON nested deeper than this is not looked through but dropped.
pub(crate) const MAX_DEPTH: usize = 64;

/// Cleans JSON text. What is not JSON is given back as a JSON text of its own, cut at `max` bytes; JSON that is larger
/// than `max` after cleaning becomes `null`.
pub fn json(text: &str, max: usize) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(_) => Value::String(clip(text, max).to_owned()),
    };
    clean(&mut value, 0);
    let clean = value.to_string();
    if clean.len() > max.saturating_mul(2) {
        "null".to_owned()
    } else {
        clean
    }
}

fn clean(value: &mut Value, depth: usize) {
    if depth >= MAX_DEPTH {
        *value = Value::String(HIDDEN.to_owned());
        return;
    }
    match value {
        Value::Object(map) => {
            map.retain(|name, _| !ENVIRONMENTS.contains(&name.to_ascii_lowercase().as_str()));
            for (name, value) in map.iter_mut() {
                if is_secret(name) {
                    *value = Value::String(HIDDEN.to_owned());
                } else {
                    clean(value, depth + 1);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| clean(value, depth + 1)),
        _ => {}
    }
}

/// Whether a name sounds like that of a secret.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(|c| c.is_alphanumeric())
        .map(|c| c.to_ascii_lowercase())
        .collect();
    SECRETS.iter().any(|word| plain.contains(word))
}

/// Words of a command line: the value of an option that sounds like a secret is hidden, and so is a password within an address.
pub fn words(words: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut hide_next = false;
    words
        .into_iter()
        .map(|word| {
            let is_option = word.starts_with('-');
            if std::mem::take(&mut hide_next) && !is_option {
                return HIDDEN.to_owned();
            }
            if let Some((name, _)) = word.split_once('=')
                && is_secret(name)
            {
                return format!("{name}={HIDDEN}");
            }
            hide_next = is_option && is_secret(&word);
            without_password(&word).unwrap_or(word)
        })
        .collect()
}

/// `scheme://user:password@host` without the password.
fn without_password(word: &str) -> Option<String> {
    let (scheme, rest) = word.split_once("://")?;
    let (user, host) = rest.split_once('@')?;
    let (name, _) = user.split_once(':').filter(|_| !user.contains('/'))?;
    Some(format!("{scheme}://{name}:{HIDDEN}@{host}"))
}

/// Any text: who and with which password, in each address in it. `git@`, which is nobody's secret, stays.
pub fn addresses(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        let host_ends = after
            .find(|c: char| c == '/' || c == '"' || c == '\'' || c.is_whitespace())
            .unwrap_or(after.len());
        rest = match after[..host_ends].rfind('@') {
            Some(user_ends) if &after[..user_ends] != "git" => {
                clean.push_str(HIDDEN);
                &after[user_ends..]
            }
            _ => after,
        };
    }
    clean.push_str(rest);
    clean
}

/// The text, cut at a character so that at most `max` bytes stay.
pub fn clip(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let end = (0..=max).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_are_dropped_and_secrets_hidden_at_any_depth() {
        let text = r#"{"a":1,"env":{"PATH":"x"},"http":{"body":{"Pass_Word":"p","user":"u"},"headers":[{"X-Api-Key":"k"}]},"pm2_env":{"X":1}}"#;
        let expected = r#"{"a":1,"http":{"body":{"Pass_Word":"[redacted]","user":"u"},"headers":[{"X-Api-Key":"[redacted]"}]}}"#;
        assert_eq!(json(text, 4096), expected);
    }

    #[test]
    fn command_lines_lose_their_secrets() {
        let line =
            "node app.js --port 80 --api-token abc --password=x -v --db postgres://u:pw@h/d --secret --other";
        let clean = words(line.split(' ').map(str::to_owned)).join(" ");
        assert_eq!(
            clean,
            "node app.js --port 80 --api-token [redacted] --password=[redacted] -v --db postgres://u:[redacted]@h/d --secret --other"
        );
    }

    #[test]
    fn addresses_lose_who_they_are_for() {
        for (text, clean) in [
            ("no address", "no address"),
            ("https://h/a@b", "https://h/a@b"),
            ("git+ssh://git@h/r.git", "git+ssh://git@h/r.git"),
            (
                "fatal: 'https://tok@h/r.git/': no",
                "fatal: 'https://[redacted]@h/r.git/': no",
            ),
            ("a://u:p@h b://v:q@é c", "a://[redacted]@h b://[redacted]@é c"),
            ("://@", "://[redacted]@"),
        ] {
            assert_eq!(addresses(text), clean);
        }
    }

    #[test]
    fn what_is_not_json_becomes_a_text() {
        assert_eq!(json("not json", 4096), "\"not json\"");
        assert_eq!(json("", 10), "");
    }

    #[test]
    fn what_is_too_large_is_cut_at_a_character() {
        assert_eq!(clip("añb", 2), "a");
        assert_eq!(json(&format!("[\"{}\"]", "x".repeat(100)), 10), "null");
    }

    #[test]
    fn deep_nesting_is_harmless() {
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert!(json(&deep, 4096).contains(HIDDEN));
        let deeper = "[".repeat(100_000);
        assert!(json(&deeper, 50).len() < 200);
    }
}
