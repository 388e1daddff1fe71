//! When log files are put aside, as users write it: keys in the spirit of pm2-logrotate's, in the section [`SECTION`] of
//! `module_conf.json` (`set logrotate:max_size 50M`) for all, and in the attribute of that name of an app for that app.

use serde_json::Value;

use crate::cron::Schedule;
use crate::{js, units};

/// The section of `module_conf.json`, and the attribute of an app: `false`, `true`, or an object of settings.
pub const SECTION: &str = "logrotate";

/// What was asked for, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRotation {
    /// Whether anything is put aside. `None`: nobody said; then it is, unless another program does it.
    pub enabled: Option<bool>,
    /// Bytes; `None`: however large.
    pub max_size: Option<u64>,
    /// Older files that are kept; `None`: all.
    pub retain: Option<u32>,
    /// Older files are removed after so many ms.
    pub max_age_ms: Option<u64>,
    /// Whether older files are compressed.
    pub compress: bool,
    /// The cron pattern by which files are put aside, too.
    pub interval: Option<String>,
}

impl Default for LogRotation {
    fn default() -> Self {
        Self {
            enabled: None,
            max_size: Some(10 << 20),
            retain: Some(30),
            max_age_ms: None,
            compress: true,
            interval: None,
        }
    }
}

impl LogRotation {
    /// Lays what somebody wrote over it. Gives a complaint for each thing that makes no sense; that keeps its former value.
    pub fn overlay(&mut self, written: &Value) -> Vec<String> {
        let mut complaints = Vec::new();
        match written {
            Value::Null => {}
            Value::Object(keys) => {
                for (key, value) in keys {
                    if !self.set(key, value) {
                        complaints.push(complaint(key, value));
                    }
                }
            }
            other => match switch(other) {
                Some(on) => self.enabled = Some(on),
                None => complaints.push(format!(
                    "{} is neither true, false nor an object of settings",
                    js::to_text(other)
                )),
            },
        }
        complaints
    }

    fn set(&mut self, key: &str, value: &Value) -> bool {
        let text = js::to_text(value);
        let text = text.trim();
        match key {
            "enabled" => switch(value).map(|on| self.enabled = Some(on)),
            "compress" => switch(value).map(|on| self.compress = on),
            "max_size" => limit(text, size).map(|size| self.max_size = size),
            "retain" => limit(text, |text| text.parse().ok()).map(|retain| self.retain = retain),
            "max_age" => limit(text, age).map(|age| self.max_age_ms = age),
            "rotateInterval" | "rotate_interval" => {
                limit(text, pattern).map(|pattern| self.interval = pattern)
            }
            _ => None,
        }
        .is_some()
    }
}

fn complaint(key: &str, value: &Value) -> String {
    let example = match key {
        "enabled" | "compress" => "true or false",
        "max_size" => "a size such as 10M, or none",
        "retain" => "a number of files, or all",
        "max_age" => "a time such as 30d or 12h, or none",
        _ => {
            return format!("{key} is no setting; there are enabled, max_size, retain, max_age and compress");
        }
    };
    format!("{key} is {}, say {example}", js::to_text(value))
}

fn switch(value: &Value) -> Option<bool> {
    match value {
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" | "1" => Some(true),
            "false" | "off" | "no" | "0" => Some(false),
            _ => None,
        },
        other => js::as_bool(other),
    }
}

/// `Some(None)`: no limit.
fn limit<T>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    match text.to_ascii_lowercase().as_str() {
        "none" | "all" | "false" | "off" | "infinity" => Some(None),
        _ => parse(text).map(Some),
    }
}

fn size(text: &str) -> Option<u64> {
    let text = text.to_ascii_uppercase();
    units::parse_bytes(text.strip_suffix('B').unwrap_or(&text)).filter(|bytes| *bytes > 0)
}

fn pattern(text: &str) -> Option<String> {
    Schedule::parse(text).ok().map(|_| text.to_owned())
}

/// A bare number is days.
fn age(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let (digits, unit) = match text.char_indices().next_back()? {
        (at, 'd') => (&text[..at], 86_400_000),
        (at, 'w') => (&text[..at], 604_800_000),
        (_, c) if c.is_ascii_digit() => (text.as_str(), 86_400_000),
        _ => return units::parse_millis(&text).filter(|ms| *ms > 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit).filter(|ms| *ms > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn overlaid(written: &Value) -> (LogRotation, Vec<String>) {
        let mut rules = LogRotation::default();
        let complaints = rules.overlay(written);
        (rules, complaints)
    }

    #[test]
    fn what_users_write() {
        let day = 86_400_000;
        let cases = [
            (json!(null), LogRotation::default()),
            (
                json!(false),
                LogRotation {
                    enabled: Some(false),
                    ..LogRotation::default()
                },
            ),
            // All that `set` stores is text.
            (
                json!("off"),
                LogRotation {
                    enabled: Some(false),
                    ..LogRotation::default()
                },
            ),
            (
                json!({ "enabled": "true", "max_size": "50M", "retain": "7", "max_age": "2w", "compress": "false" }),
                LogRotation {
                    enabled: Some(true),
                    max_size: Some(50 << 20),
                    retain: Some(7),
                    max_age_ms: Some(14 * day),
                    compress: false,
                    interval: None,
                },
            ),
            (
                json!({ "max_size": 2048, "retain": "all", "max_age": 3 }),
                LogRotation {
                    max_size: Some(2048),
                    retain: None,
                    max_age_ms: Some(3 * day),
                    ..LogRotation::default()
                },
            ),
            (
                json!({ "max_size": "10kb", "max_age": "12h" }),
                LogRotation {
                    max_size: Some(10 << 10),
                    max_age_ms: Some(day / 2),
                    ..LogRotation::default()
                },
            ),
            (
                json!({ "rotateInterval": "0 0 * * *" }),
                LogRotation {
                    interval: Some("0 0 * * *".into()),
                    ..LogRotation::default()
                },
            ),
            (
                json!({ "max_size": "none" }),
                LogRotation {
                    max_size: None,
                    ..LogRotation::default()
                },
            ),
        ];
        for (written, expected) in cases {
            assert_eq!(overlaid(&written), (expected, vec![]), "{written}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told_and_passed_over() {
        let written = json!({
            "enabled": "perhaps", "max_size": "big", "retain": -1, "max_age": "µ", "compress": {}, "maxsize": "1M", "ok": [1],
            "rotateInterval": "daily at noon",
        });
        let (rules, complaints) = overlaid(&written);
        assert_eq!(rules, LogRotation::default());
        assert_eq!(complaints.len(), 8, "{complaints:?}");
        assert_eq!(complaints[1], "max_size is big, say a size such as 10M, or none");
        for odd in [
            json!([]),
            json!("sometimes"),
            json!({ "max_size": 0 }),
            json!({ "max_size": "99999999999999999999G" }),
        ] {
            assert_eq!(overlaid(&odd).1.len(), 1, "{odd}");
        }
    }
}
