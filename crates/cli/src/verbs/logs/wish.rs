//! What is to be shown of the logs.

use std::collections::BTreeSet;

use logs::history::Span;
use pm2::dates::Pattern;
use regex::Regex;

use super::moment;
use crate::console::Console;
use crate::context::Context;
use crate::failure::Failure;
use crate::home::now_ms;
use crate::process::Process;
use crate::render::{LogLine, LogStyle};
use crate::targets::{number, pattern};

const LINES: usize = 15;
/// Nobody reads more on a screen, and memory has an end.
const MOST_LINES: usize = 1_000_000;

/// Whose logs.
pub(super) enum Target {
    All,
    /// The daemon's own log.
    Daemon,
    Id(u32, String),
    /// A name or a namespace.
    Name(String),
    Pattern(Regex),
    /// Several processes.
    Ids(BTreeSet<u32>),
}

/// How each line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Lines,
    Json,
    Pairs,
}

/// What is to be shown, and how.
pub(super) struct Wish {
    pub(super) target: Target,
    pub(super) lines: usize,
    pub(super) out: bool,
    pub(super) err: bool,
    pub(super) raw: bool,
    pub(super) timestamp: Option<Pattern>,
    pub(super) highlight: Option<String>,
    pub(super) form: Form,
    /// Only lines of this time.
    pub(super) span: Span,
    /// Only lines with a match.
    pub(super) grep: Option<Regex>,
    /// How many lines there may be was said.
    pub(super) counted: bool,
    /// What comes is shown too.
    pub(super) live: bool,
}

impl Wish {
    pub(super) fn new(context: &Context<'_>, target: &str) -> Result<Wish, Failure> {
        let typed = &context.typed;
        let lines = match typed.text("lines") {
            None => LINES,
            Some(text) => text
                .parse::<usize>()
                .map_err(|_| Failure::Error(format!("--lines {text}: say a number")))?
                .min(MOST_LINES),
        };
        let target = match (target, pattern(target), number(target)) {
            ("all", ..) => Target::All,
            ("PM2", ..) => Target::Daemon,
            (_, Some(regex), _) => Target::Pattern(regex?),
            (_, None, Some(id)) => Target::Id(id, target.to_owned()),
            (name, None, None) => Target::Name(name.to_owned()),
        };
        let timestamp = typed
            .on("timestamp")
            .then(|| typed.text("timestamp").unwrap_or("YYYY-MM-DD-HH:mm:ss"));
        let moment = |option: &str| {
            match typed.text(option) {
            None => Ok(None),
            Some(text) => moment::parse(text, now_ms()).map(Some).ok_or_else(|| {
                Failure::Error(format!(
                    "--{option} {text}: say how long ago (10m, 2h30m, 3d), a time of today (14:05) or a date (2026-11-23 14:05)"
                ))
            }),
        }
        };
        let span = Span {
            since_ms: moment("since")?,
            until_ms: moment("until")?,
        };
        let grep = match typed.text("grep") {
            None => None,
            Some(text) => {
                Some(Regex::new(text).map_err(|error| Failure::Error(format!("--grep {text}: {error}")))?)
            }
        };
        Ok(Wish {
            target,
            lines,
            out: !typed.on("err") || typed.on("out"),
            err: !typed.on("out") || typed.on("err"),
            raw: typed.on("raw"),
            timestamp: timestamp.map(Pattern::new),
            highlight: typed.text("highlight").map(str::to_owned),
            form: if typed.on("json") {
                Form::Json
            } else if typed.on("format") {
                Form::Pairs
            } else {
                Form::Lines
            },
            span,
            grep,
            counted: typed.text("lines").is_some(),
            live: !typed.on("nostream") && span.until_ms.is_none(),
        })
    }

    /// Are lines to be looked for, in all that was ever written? PM2 shows ends of files only, and those only as plain lines.
    pub(super) fn searches(&self) -> bool {
        self.span != Span::default() || self.grep.is_some() || (self.form != Form::Lines && !self.live)
    }

    /// How many lines of each file are looked for; `None`: all of the time that was named.
    pub(super) fn limit(&self) -> Option<usize> {
        (self.counted || self.span.since_ms.is_none()).then_some(self.lines)
    }

    pub(super) fn takes(&self, text: &str) -> bool {
        self.grep.as_ref().is_none_or(|grep| grep.is_match(text))
    }

    pub(super) fn wants(&self, id: Option<u32>, name: &str, namespace: &str) -> bool {
        match &self.target {
            Target::All => true,
            Target::Daemon => false,
            Target::Id(wanted, text) => id == Some(*wanted) || name == text,
            Target::Name(wanted) => name == wanted || namespace == wanted,
            Target::Pattern(regex) => regex.is_match(name),
            Target::Ids(ids) => id.is_some_and(|id| ids.contains(&id)),
        }
    }

    pub(super) fn wants_process(&self, p: &Process) -> bool {
        self.wants(Some(p.pm_id), &p.name, p.env.namespace())
    }

    pub(super) fn wants_daemon(&self) -> bool {
        matches!(self.target, Target::Daemon)
            || (matches!(self.target, Target::All) && !self.raw && self.out && self.err)
    }

    pub(super) fn style(&self, console: &Console, cut: bool) -> LogStyle<'_> {
        LogStyle {
            raw: self.raw,
            brush: console.brush,
            highlight: self.highlight.as_deref(),
            cut,
        }
    }
}

/// Which stream of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
    Daemon,
}

impl Stream {
    pub(super) fn line(self, label: &str, text: &str) -> LogLine {
        LogLine {
            label: label.to_owned(),
            text: text.to_owned(),
            error: self == Stream::Err,
            daemon: self == Stream::Daemon,
        }
    }
}
