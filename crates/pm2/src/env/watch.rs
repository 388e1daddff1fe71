//! What a process asks to have watched.

use super::Pm2Env;
use crate::{Object, js};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// Which files, of all below some paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedFiles {
    /// The app's working directory, to which all paths are relative.
    pub cwd: PathBuf,
    /// Paths or globs.
    pub paths: Vec<String>,
    /// Paths or globs that are left out; `None`: hidden files and `node_modules`.
    pub ignored: Option<Vec<String>>,
    /// Links to folders are entered.
    pub follow_links: bool,
    /// How many levels of folders below each path; `None`: all.
    pub depth: Option<u32>,
    /// Look at the files at this interval, instead of being told by the kernel.
    pub poll: Option<Duration>,
}

/// What follows a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchTiming {
    /// From the first change to the restart.
    pub delay: Duration,
    /// No restart before nothing has changed for so long.
    pub settle: Option<Duration>,
}

/// Options of the watcher of the original that have a meaning here.
const OPTIONS: &[&str] = &[
    "usePolling",
    "interval",
    "followSymlinks",
    "depth",
    "ignored",
    "awaitWriteFinish",
    // Always so here, whatever is said.
    "persistent",
    "ignoreInitial",
    "ignorePermissionErrors",
    "atomic",
    "binaryInterval",
];

/// What the original polls at.
const POLL_MS: i64 = 100;
/// Its `awaitWriteFinish: true`.
const SETTLE_MS: i64 = 2000;

impl Pm2Env {
    /// What is to be watched; `None` if watching is off.
    pub fn watched_files(&self) -> Option<WatchedFiles> {
        if !self.watches() {
            return None;
        }
        // Only lists and texts name paths.
        let named = match self.flag("watch") {
            Some(_) => Vec::new(),
            None => self.list("watch"),
        };
        let paths = if named.is_empty() {
            vec![".".to_owned()]
        } else {
            named
        };
        let none = Object::new();
        let options = self.watch_options().unwrap_or(&none);
        let ignored = match options
            .get("ignored")
            .filter(|value| value.is_string() || value.is_array())
        {
            Some(value) => Some(texts(value)),
            None => self
                .get("ignore_watch")
                .filter(|value| js::truthy(value))
                .map(|value| texts(&value)),
        };
        let polls = options.get("usePolling").is_some_and(js::truthy);
        let interval = options.get("interval").and_then(js::as_int).unwrap_or(POLL_MS);
        Some(WatchedFiles {
            cwd: self.cwd().into(),
            paths,
            ignored,
            follow_links: options.get("followSymlinks").is_none_or(js::truthy),
            depth: options
                .get("depth")
                .and_then(js::as_int)
                .and_then(|n| u32::try_from(n).ok()),
            poll: polls
                .then(|| Duration::from_millis(u64::try_from(interval.max(POLL_MS)).unwrap_or_default())),
        })
    }

    /// The field that says why some of it can't be. A list, since lists do not reach the environment of the app.
    pub const WATCH_ERRORS: &str = "watch_errors";

    /// Says why some of it can't be watched; nothing: all is well.
    pub fn set_watch_errors(&mut self, errors: Vec<String>) {
        if errors.is_empty() {
            self.unset(Self::WATCH_ERRORS);
        } else {
            self.set(Self::WATCH_ERRORS, errors);
        }
    }

    /// How a change is answered.
    pub fn watch_timing(&self) -> WatchTiming {
        let ms = |n: i64| u64::try_from(n).ok().map(Duration::from_millis);
        let settle = match self
            .watch_options()
            .and_then(|options| options.get("awaitWriteFinish"))
        {
            Some(Value::Object(how)) => Some(
                how.get("stabilityThreshold")
                    .and_then(js::as_int)
                    .unwrap_or(SETTLE_MS),
            ),
            Some(value) if js::truthy(value) => Some(SETTLE_MS),
            _ => None,
        };
        WatchTiming {
            delay: self.int("watch_delay").and_then(ms).unwrap_or_default(),
            settle: settle.and_then(ms),
        }
    }

    /// Names in `watch_options` that change nothing here.
    pub fn watch_options_without_effect(&self) -> Vec<&str> {
        let names = self.watch_options().into_iter().flat_map(Object::keys);
        names
            .map(String::as_str)
            .filter(|name| !OPTIONS.contains(name))
            .collect()
    }

    fn watch_options(&self) -> Option<&Object> {
        self.object("watch_options")
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        Value::String(text) => vec![text.clone()],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::env;
    use super::*;
    use serde_json::json;

    fn paths(watch: Value) -> Option<Vec<String>> {
        env(json!({ "watch": watch, "pm_cwd": "/a" }))
            .watched_files()
            .map(|files| files.paths)
    }

    #[test]
    fn what_is_watched() {
        let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(paths(json!(true)), list(&["."]));
        assert_eq!(paths(json!("true")), list(&["."]));
        assert_eq!(paths(json!("src")), list(&["src"]));
        assert_eq!(paths(json!(["src", "lib"])), list(&["src", "lib"]));
        assert_eq!(paths(json!([])), list(&["."]));
        assert_eq!(paths(json!(false)), None);
        assert_eq!(paths(json!("false")), None);
        assert_eq!(paths(json!(null)), None);
    }

    #[test]
    fn what_is_left_out_and_how_it_is_looked_at() {
        let plain = env(json!({ "watch": true, "pm_cwd": "/a" }))
            .watched_files()
            .unwrap();
        assert_eq!(
            (plain.ignored, plain.follow_links, plain.depth, plain.poll),
            (None, true, None, None)
        );
        let told = env(json!({
            "watch": true, "ignore_watch": ["*.log", {}], "watch_delay": 300,
            "watch_options": { "usePolling": true, "interval": 5, "followSymlinks": false, "depth": 2,
                               "awaitWriteFinish": { "stabilityThreshold": 700 }, "alwaysStat": true },
        }));
        let files = told.watched_files().unwrap();
        assert_eq!(files.ignored, Some(vec!["*.log".into()]));
        assert_eq!(
            (files.follow_links, files.depth, files.poll),
            (false, Some(2), Some(Duration::from_millis(100)))
        );
        let timing = told.watch_timing();
        assert_eq!(
            (timing.delay, timing.settle),
            (Duration::from_millis(300), Some(Duration::from_millis(700)))
        );
        assert_eq!(told.watch_options_without_effect(), ["alwaysStat"]);
        let over = env(json!({ "watch": true, "ignore_watch": ["a"], "watch_options": { "ignored": "b" } }));
        assert_eq!(over.watched_files().unwrap().ignored, Some(vec!["b".into()]));
        assert_eq!(env(json!({})).watch_timing(), WatchTiming::default());
    }
}
