//! What this host keeps to itself beyond what [`crate::redact`] always hides: rules of its owner, in a file of its own.
//!
//! ```toml
//! # $PM2_HOME/redact.toml: regular expressions
//! # in any text: lines of output, messages and stacks of errors, data of events, command lines, results of actions
//! text = ['\b\d{4}-\d{4}-\d{4}-\d{4}\b', '(?i)customer \w+']
//! # of fields in data of apps, and of options on command lines: their values are hidden
//! names = ['^iban$', 'diagnosis']
//! # of metrics: they are left out
//! metrics = ['^revenue']
//! ```
//!
//! Names of apps, of metrics that stay, and of the server are what people call them by, and are sent as they are.
//! A file that cannot be understood lets nothing leave at all: a typing error must not tell what its author meant to hide.

use crate::redact::{self, HIDDEN};
use crate::stamped::Stamped;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use thiserror::Error;
use toml::Spanned;
use wire::message::ReportBody;
use wire::telemetry::{
    Event, Exception, METRIC_CPU, METRIC_MEMORY, Metrics, Process, SampleBatch, Value as MetricValue,
};

/// Name of the file in `$PM2_HOME`.
pub const FILE: &str = "redact.toml";
const MAX_BYTES: u64 = 64 << 10;
/// Most rules of a kind.
const MAX_RULES: usize = 256;
/// Memory that one expression may take when it is compiled, bytes.
const MAX_COMPILED: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    text: Vec<Spanned<String>>,
    #[serde(default)]
    names: Vec<Spanned<String>>,
    #[serde(default)]
    metrics: Vec<Spanned<String>>,
}

/// The rules of a host. The default hides nothing more than [`crate::redact`] does.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    text: Vec<Regex>,
    names: Vec<Regex>,
    metrics: Vec<Regex>,
}

/// A file that is not understood.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RulesError {
    /// Something in it is wrong.
    #[error("{FILE}, line {line}, column {column}: {reason}; nothing leaves this host until that is mended")]
    Wrong {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// It cannot be read.
    #[error("{FILE} cannot be read: {0}; nothing leaves this host until that is mended")]
    Unreadable(String),
}

impl Rules {
    /// Understands the text of a file.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(text.len(), |span| span.start);
            wrong(text, at, error.message())
        })?;
        let compiled = |kind: &str, rules: &[Spanned<String>]| {
            if let Some(beyond) = rules.get(MAX_RULES) {
                let reason = format!("more than {MAX_RULES} rules for {kind}");
                return Err(wrong(text, beyond.span().start, &reason));
            }
            let compile = |rule: &Spanned<String>| {
                compile(rule.get_ref()).map_err(|reason| wrong(text, rule.span().start, &reason))
            };
            rules.iter().map(compile).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            text: compiled("text", &file.text)?,
            names: compiled("names", &file.names)?,
            metrics: compiled("metrics", &file.metrics)?,
        })
    }

    /// The rules of a home; those of a home without a file hide nothing more.
    pub fn load(home: &Path) -> Result<Self, RulesError> {
        read(&home.join(FILE))
    }

    /// Whether they hide nothing.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.names.is_empty() && self.metrics.is_empty()
    }

    /// Hides what is to be hidden in a text.
    pub fn text(&self, text: &mut String) {
        for rule in &self.text {
            if let std::borrow::Cow::Owned(clean) = rule.replace_all(text, regex::NoExpand(HIDDEN)) {
                *text = clean;
            }
        }
    }

    /// Cleans JSON text as [`redact::json`] does, and by these rules.
    pub fn json(&self, text: &str, max: usize) -> String {
        if self.text.is_empty() && self.names.is_empty() {
            return redact::json(text, max);
        }
        let cleaned = match serde_json::from_str::<Value>(text) {
            Ok(mut value) => {
                self.value(&mut value, 0);
                value.to_string()
            }
            Err(_) => {
                let mut plain = text.to_owned();
                self.text(&mut plain);
                plain
            }
        };
        redact::json(&cleaned, max)
    }

    fn value(&self, value: &mut Value, depth: usize) {
        match value {
            // The parser has a bound of its own; deeper things are dropped by `redact`.
            _ if depth > redact::MAX_DEPTH => *value = Value::String(HIDDEN.to_owned()),
            Value::String(text) => self.text(text),
            Value::Array(list) => list.iter_mut().for_each(|value| self.value(value, depth + 1)),
            Value::Object(map) => {
                for (name, value) in map.iter_mut() {
                    if self.is_hidden(name) {
                        *value = Value::String(HIDDEN.to_owned());
                    } else {
                        self.value(value, depth + 1);
                    }
                }
            }
            // A rule for text may mean digits, whatever type the app gave them.
            Value::Number(number) => {
                let before = number.to_string();
                let mut after = before.clone();
                self.text(&mut after);
                if after != before {
                    *value = Value::String(after);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Whether the value of a field of this name is hidden.
    fn is_hidden(&self, name: &str) -> bool {
        self.names.iter().any(|rule| rule.is_match(name))
    }

    fn is_left_out(&self, metric: &str) -> bool {
        self.metrics.iter().any(|rule| rule.is_match(metric))
    }

    /// Cleans what is told of a process. CPU and memory, which every process has, stay.
    pub fn process(&self, process: &mut Process) {
        if self.is_empty() {
            return;
        }
        let versioning = &mut process.versioning;
        for text in [
            &mut process.script,
            &mut process.version,
            &mut process.node_env,
            &mut versioning.url,
            &mut versioning.comment,
            &mut versioning.branch,
            &mut versioning.remote,
            &mut versioning.repo_path,
        ] {
            self.text(text);
        }
        if self.is_hidden("NODE_ENV") && !process.node_env.is_empty() {
            HIDDEN.clone_into(&mut process.node_env);
        }
        process.interpreter_args = self.words(std::mem::take(&mut process.interpreter_args));
        for action in &mut process.actions {
            if !action.opts.is_empty() {
                action.opts = self.json(&action.opts, usize::MAX / 4);
            }
        }
        self.metrics(&mut process.metrics);
    }

    /// Leaves out metrics, and cleans the texts of those that stay.
    pub fn metrics(&self, metrics: &mut Metrics) {
        if !self.metrics.is_empty() {
            metrics.0.retain(|name, _| !self.is_left_out(name));
        }
        for metric in metrics.0.values_mut() {
            if let MetricValue::Text(text) = &mut metric.value {
                self.text(text);
            }
        }
    }

    fn words(&self, words: Vec<String>) -> Vec<String> {
        let mut hide_next = false;
        let clean = |mut word: String| {
            let is_option = word.starts_with('-');
            if std::mem::take(&mut hide_next) && !is_option {
                return HIDDEN.to_owned();
            }
            let named = |name: &str| self.is_hidden(name.trim_start_matches('-'));
            if let Some((name, _)) = word.split_once('=')
                && named(name)
            {
                return format!("{name}={HIDDEN}");
            }
            hide_next = is_option && named(&word);
            self.text(&mut word);
            word
        };
        words.into_iter().map(clean).collect()
    }

    /// Cleans an event.
    pub fn event(&self, event: &mut Event, max: usize) {
        self.text(&mut event.name);
        event.data = self.json(&event.data, max);
    }

    /// Cleans an exception.
    pub fn exception(&self, exception: &mut Exception, max: usize) {
        for text in [
            &mut exception.message,
            &mut exception.stack,
            &mut exception.context,
            &mut exception.callsite,
        ] {
            self.text(text);
        }
        exception.last_logs.iter_mut().for_each(|line| self.text(line));
        exception.metadata = self.json(&exception.metadata, max);
    }

    /// Cleans a report that was gathered under other rules.
    pub fn report(&self, body: &mut ReportBody, max: usize) {
        match body {
            ReportBody::Samples(SampleBatch { series, .. }) => series.retain(|one| {
                let everybodys =
                    one.pm_id.is_some() && [METRIC_CPU, METRIC_MEMORY].contains(&one.metric.as_str());
                everybodys || !self.is_left_out(&one.metric)
            }),
            ReportBody::Events(events) => events.list.iter_mut().for_each(|event| self.event(event, max)),
            ReportBody::Exceptions(exceptions) => {
                exceptions
                    .list
                    .iter_mut()
                    .for_each(|exception| self.exception(exception, max));
            }
            ReportBody::Unknown(_) => {}
        }
    }
}

fn compile(rule: &str) -> Result<Regex, String> {
    let regex = RegexBuilder::new(rule)
        .size_limit(MAX_COMPILED)
        .build()
        // The last line says what is wrong; those before repeat the expression.
        .map_err(|error| {
            let told = error.to_string();
            let reason = told.lines().last().unwrap_or_default();
            format!(
                "not a regular expression: {}",
                reason.trim_start_matches("error: ")
            )
        })?;
    if regex.is_match("") {
        return Err("this expression fits nothing at all, and so everything".to_owned());
    }
    Ok(regex)
}

fn wrong(text: &str, at: usize, reason: &str) -> RulesError {
    let before = redact::clip(text, at);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    RulesError::Wrong {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        reason: reason.lines().next().unwrap_or_default().to_owned(),
    }
}

fn read(path: &Path) -> Result<Rules, RulesError> {
    match crate::identity::read_small(path, MAX_BYTES) {
        Ok(Some(text)) => Rules::parse(&text),
        Ok(None) => Ok(Rules::default()),
        Err(error) => Err(RulesError::Unreadable(error.source.to_string())),
    }
}

/// The rules of a home, read again when their file changes.
#[derive(Debug)]
pub(crate) struct RulesFile {
    path: PathBuf,
    seen: Option<Stamped>,
    rules: Result<Rules, RulesError>,
}

impl RulesFile {
    pub(crate) fn open(home: &Path) -> Self {
        let path = home.join(FILE);
        let seen = Stamped::of(&path);
        // After the look: what changes between the two is read again.
        let rules = read(&path);
        Self { path, seen, rules }
    }

    /// Looks whether the file changed; `true` if there are other rules now.
    pub(crate) fn look(&mut self) -> bool {
        let seen = Stamped::of(&self.path);
        if seen == self.seen {
            return false;
        }
        self.seen = seen;
        self.rules = read(&self.path);
        true
    }

    pub(crate) fn rules(&self) -> Result<&Rules, &RulesError> {
        self.rules.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::message::Events;
    use wire::telemetry::{Metric, Series};

    const MAX: usize = 64 << 10;

    fn rules() -> Rules {
        Rules::parse(
            r"
            text = ['\b\d{4}-\d{4}\b', '(?i)customer \w+']
            names = ['^iban$']
            metrics = ['^revenue']
            ",
        )
        .unwrap()
    }

    #[test]
    fn text_is_hidden_wherever_it_stands() {
        let rules = rules();
        let mut line = "paid 1234-5678 by Customer Smith".to_owned();
        rules.text(&mut line);
        assert_eq!(line, format!("paid {HIDDEN} by {HIDDEN}"));
        let data = r#"{"iban":"DE1","IBAN":"x","list":["1234-5678",{"by":"customer Roe","token":"t"}]}"#;
        let expected = r#"{"iban":"[redacted]","IBAN":"x","list":["[redacted]",{"by":"[redacted]","token":"[redacted]"}]}"#;
        assert_eq!(rules.json(data, MAX), expected);
        assert_eq!(rules.json("not JSON: 1234-5678", MAX), "\"not JSON: [redacted]\"");
        let digits = Rules::parse(r"text = ['\d{16}']").unwrap();
        assert_eq!(
            digits.json(r#"{"card":1234567812345678}"#, MAX),
            r#"{"card":"[redacted]"}"#
        );
    }

    #[test]
    fn what_is_told_of_a_process_is_cleaned() {
        let metric = |value| Metric {
            value,
            ..Metric::default()
        };
        let mut process = Process {
            name: "customer smith".into(),
            script: "/srv/customer Smith/app.js".into(),
            interpreter_args: ["--iban", "DE1", "--x=1234-5678", "--iban=2"]
                .map(String::from)
                .to_vec(),
            metrics: [
                ("revenue".to_owned(), metric(MetricValue::Number(3.0))),
                (
                    "last".to_owned(),
                    metric(MetricValue::Text("customer Roe".into())),
                ),
            ]
            .into_iter()
            .collect(),
            ..Process::default()
        };
        rules().process(&mut process);
        assert_eq!(process.name, "customer smith", "a name is what people call it by");
        assert_eq!(process.script, format!("/srv/{HIDDEN}/app.js"));
        assert_eq!(
            process.interpreter_args,
            [
                "--iban",
                HIDDEN,
                &format!("--x={HIDDEN}"),
                &format!("--iban={HIDDEN}")
            ]
        );
        assert_eq!(process.metrics.keys().collect::<Vec<_>>(), ["last"]);
        assert_eq!(process.metrics["last"].value, MetricValue::Text(HIDDEN.into()));
    }

    #[test]
    fn reports_of_before_are_cleaned_too() {
        let series = |pm_id, metric: &str| Series {
            pm_id,
            metric: metric.into(),
            values: vec![Some(1.0)],
            ..Series::default()
        };
        let mut body = ReportBody::Samples(SampleBatch {
            at: vec![1],
            series: vec![
                series(Some(0), "cpu"),
                series(Some(0), "revenue today"),
                series(None, "load1"),
            ],
        });
        let everything = Rules::parse("metrics = ['.']").unwrap();
        rules().report(&mut body, MAX);
        let names = |body: &ReportBody| match body {
            ReportBody::Samples(batch) => batch.series.iter().map(|s| s.metric.clone()).collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        assert_eq!(names(&body), ["cpu", "load1"]);
        everything.report(&mut body, MAX);
        assert_eq!(names(&body), ["cpu"]);
        let event = Event {
            data: r#"{"iban":1}"#.into(),
            name: "customer Roe".into(),
            ..Event::default()
        };
        let mut body = ReportBody::Events(Events { list: vec![event] });
        rules().report(&mut body, MAX);
        let ReportBody::Events(events) = body else {
            panic!("still events")
        };
        assert_eq!(
            (events.list[0].name.as_str(), events.list[0].data.as_str()),
            (HIDDEN, r#"{"iban":"[redacted]"}"#)
        );
    }

    #[test]
    fn a_file_that_is_not_understood_says_where_and_why() {
        for (text, line, column, reason) in [
            (
                "text = ['a', '(b']",
                1,
                14,
                "not a regular expression: unclosed group",
            ),
            (
                "# ü\nnames = [\n  '[z-a]',\n]",
                3,
                3,
                "not a regular expression: invalid character class range",
            ),
            ("text = ['x*']", 1, 9, "this expression fits nothing at all"),
            ("\ntxt = []", 2, 1, "unknown field `txt`"),
            ("text = [", 1, 9, ""),
            ("text = 'x'", 1, 8, "invalid type"),
            ("text = ['(a{1000}){1000}']", 1, 9, "not a regular expression"),
        ] {
            match Rules::parse(text) {
                Err(RulesError::Wrong {
                    line: l,
                    column: c,
                    reason: r,
                }) => {
                    assert_eq!((l, c), (line, column), "{text}: {r}");
                    assert!(r.contains(reason), "{text}: {r}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_change_of_the_file_counts_at_once() {
        let home = tempfile::tempdir().unwrap();
        let mut file = RulesFile::open(home.path());
        assert!(file.rules().is_ok_and(Rules::is_empty) && !file.look());
        std::fs::write(home.path().join(FILE), "text = ['x']").unwrap();
        assert!(file.look() && !file.look());
        assert!(file.rules().is_ok_and(|rules| !rules.is_empty()));
        std::fs::write(home.path().join(FILE), "text = [").unwrap();
        assert!(file.look() && file.rules().is_err());
        std::fs::remove_file(home.path().join(FILE)).unwrap();
        std::fs::create_dir(home.path().join(FILE)).unwrap();
        assert!(file.look());
        let said = file.rules().unwrap_err().to_string();
        assert!(said.starts_with("redact.toml cannot be read: "), "{said}");
    }

    proptest::proptest! {
        #[test]
        fn no_rules_and_no_data_make_it_panic(file in ".{0,60}", rule in "[a-z.*+?()\\[\\]{}|^$\\\\]{0,12}", text in ".{0,80}") {
            let _ = Rules::parse(&file);
            if let Ok(rules) = Rules::parse(&format!("text = ['{rule}']\nnames = ['{rule}']")) {
                let mut line = text.clone();
                rules.text(&mut line);
                let _ = rules.json(&text, 100);
            }
        }
    }
}
