//! `logs`: the end of the files, then what comes by the bus.

use super::Then;
use crate::client::Bus;
use crate::console::Console;
use crate::context::Context;
use crate::failure::Failure;
use crate::home::now_ms;
use crate::process::Process;
use crate::render::{LogLine, LogStyle};
use crate::targets::{number, pattern};
use jiff::tz::TimeZone;
use pm2::bus::Message;
use pm2::dates::Pattern;
use regex::Regex;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const LINES: usize = 15;
/// Nobody reads more on a screen, and memory has an end.
const MOST_LINES: usize = 1_000_000;
/// How long the bus is waited for before the reader's presence is looked at.
const TICK: Duration = Duration::from_millis(500);
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

const LOG_FIELDS: &[&str] = &[
    "namespace",
    "pm_err_log_path",
    "pm_log_path",
    "pm_out_log_path",
    "pmx_module",
];

pub(crate) fn logs(context: &Context<'_>) -> Result<Then, Failure> {
    let target = context.typed.operands.first().map_or("all", String::as_str);
    let wish = Wish::new(context, target)?;
    let mut client = context.client()?;
    let live = !context.typed.on("nostream");
    // The bus is joined before the files are read: a line is rather shown twice than not at all.
    let mut bus = match live {
        true => Some(
            Bus::connect(&context.home.pub_sock)
                .map_err(Failure::file("listening to", &context.home.pub_sock))?,
        ),
        false => None,
    };
    let list = client.list(Some(LOG_FIELDS))?;
    if !matches!(wish.target, Target::All | Target::Daemon) && !list.iter().any(|p| wish.wants_process(p)) {
        let near = crate::args::nearest(target, list.iter().map(|p| p.name.as_str()));
        let hint = near
            .map(|name| format!(" Did you mean {name}?"))
            .unwrap_or_default();
        context
            .console
            .warn(format_args!("no process is called {target} now.{hint}"));
    }
    let structured = context.typed.on("json") || context.typed.on("format");
    if wish.lines > 0 && !structured {
        tail(context, &wish, target, &list);
    }
    if let Some(bus) = &mut bus {
        follow(context, &wish, bus, || false);
    }
    Ok(Then::Done)
}

/// `--attach`: the logs of what was acted on, from now on.
pub(crate) fn attach(context: &Context<'_>) -> Result<(), Failure> {
    let mut wish = Wish::new(context, "all")?;
    wish.target = Target::Ids(context.acted_on.borrow().clone());
    let path = &context.home.pub_sock;
    let mut bus = Bus::connect(path).map_err(Failure::file("listening to", path))?;
    follow(context, &wish, &mut bus, || false);
    Ok(())
}

/// `--no-daemon`: streams all logs until a signal comes, then ends everything.
pub(crate) fn foreground(context: &Context<'_>) -> Result<(), Failure> {
    let mut wish = Wish::new(context, "all")?;
    wish.timestamp = Some(Pattern::new("HH:mm:ss"));
    let path = &context.home.pub_sock;
    let mut bus = Bus::connect(path).map_err(Failure::file("listening to", path))?;
    let signals = os::signal::SignalFd::new(&[SIGINT, SIGTERM])
        .map_err(Failure::file("waiting for signals in", "this process"))?;
    // An error of the descriptor ends it too: without it nothing else would.
    follow(context, &wish, &mut bus, || !matches!(signals.next(), Ok(None)));
    super::kill::kill(context)?;
    Ok(())
}

enum Target {
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

/// What is to be shown.
struct Wish {
    target: Target,
    lines: usize,
    out: bool,
    err: bool,
    raw: bool,
    timestamp: Option<Pattern>,
    highlight: Option<String>,
}

impl Wish {
    fn new(context: &Context<'_>, target: &str) -> Result<Wish, Failure> {
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
        Ok(Wish {
            target,
            lines,
            out: !typed.on("err") || typed.on("out"),
            err: !typed.on("out") || typed.on("err"),
            raw: typed.on("raw"),
            timestamp: timestamp.map(Pattern::new),
            highlight: typed.text("highlight").map(str::to_owned),
        })
    }

    fn wants(&self, id: Option<u32>, name: &str, namespace: &str) -> bool {
        match &self.target {
            Target::All => true,
            Target::Daemon => false,
            Target::Id(wanted, text) => id == Some(*wanted) || name == text,
            Target::Name(wanted) => name == wanted || namespace == wanted,
            Target::Pattern(regex) => regex.is_match(name),
            Target::Ids(ids) => id.is_some_and(|id| ids.contains(&id)),
        }
    }

    fn wants_process(&self, p: &Process) -> bool {
        self.wants(Some(p.pm_id), &p.name, p.env.namespace())
    }

    fn wants_daemon(&self) -> bool {
        matches!(self.target, Target::Daemon)
            || (matches!(self.target, Target::All) && !self.raw && self.out && self.err)
    }

    fn style(&self, console: &Console, cut: bool) -> LogStyle<'_> {
        LogStyle {
            raw: self.raw,
            brush: console.brush,
            highlight: self.highlight.as_deref(),
            cut,
        }
    }
}

/// One file to be shown.
struct File {
    path: PathBuf,
    label: String,
    stream: Stream,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
    Daemon,
}

impl Stream {
    fn line(self, label: &str, text: &str) -> LogLine {
        LogLine {
            label: label.to_owned(),
            text: text.to_owned(),
            error: self == Stream::Err,
            daemon: self == Stream::Daemon,
        }
    }
}

fn tail(context: &Context<'_>, wish: &Wish, target: &str, list: &[Process]) {
    let console = context.console;
    let plural = if target == "all" { "processes" } else { "process" };
    let brush = console.brush;
    console.say(brush.bold(brush.grey(format!(
        "[TAILING] Tailing last {} lines for [{target}] {plural} (change the value with --lines option)",
        wish.lines
    ))));
    let mut files: Vec<File> = Vec::new();
    for p in list.iter().filter(|p| wish.wants_process(p)) {
        let label = format!("{}|{}", p.pm_id, p.name);
        let paths = [
            (p.env.combined_log().filter(|_| wish.out && wish.err), Stream::Out),
            (p.env.out_log().filter(|_| wish.out), Stream::Out),
            (p.env.err_log().filter(|_| wish.err), Stream::Err),
        ];
        for (path, stream) in paths {
            files.extend(path.map(|path| File {
                path: path.into(),
                label: label.clone(),
                stream,
            }));
        }
    }
    let changed = |path: &Path| {
        path.metadata()
            .and_then(|meta| meta.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    };
    files.sort_by_key(|file| changed(&file.path));
    if wish.wants_daemon() {
        files.insert(
            0,
            File {
                path: context.home.log_file.clone(),
                label: "PM2".into(),
                stream: Stream::Daemon,
            },
        );
    }
    let mut seen = HashSet::new();
    for file in files.iter().filter(|file| seen.insert(file.path.clone())) {
        show_end(console, wish, file);
    }
}

fn show_end(console: &Console, wish: &Wish, file: &File) {
    let lines = match logs::tail::last_lines(&file.path, wish.lines) {
        Ok(lines) => lines,
        // It comes with the first line.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => {
            console.warn(format_args!("reading {}: {error}", file.path.display()));
            return;
        }
    };
    console.say(
        console
            .brush
            .grey(format!("{} last {} lines:", file.path.display(), wish.lines)),
    );
    let style = wish.style(console, true);
    for line in lines {
        let text = String::from_utf8_lossy(&line);
        put(
            console,
            file.stream == Stream::Err && wish.raw,
            &style.line(&file.stream.line(&file.label, &text)),
        );
    }
    console.say("");
    console.flush();
}

fn put(console: &Console, error: bool, line: &str) {
    if error {
        console.put_err(format_args!("{line}\n"));
    } else {
        console.put(format_args!("{line}\n"));
    }
}

/// Until nobody reads any more, or `ended` says so.
fn follow(context: &Context<'_>, wish: &Wish, bus: &mut Bus, ended: impl Fn() -> bool) {
    let console = context.console;
    let form = if context.typed.on("json") {
        Form::Json
    } else if context.typed.on("format") {
        Form::Pairs
    } else {
        Form::Lines
    };
    let zone = TimeZone::system();
    let mut longest = 0;
    console.flush();
    while !console.closed() && !ended() {
        let Some(message) = bus.next(TICK) else { continue };
        show(console, wish, form, &zone, &mut longest, &message);
        console.flush();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Lines,
    Json,
    Pairs,
}

fn show(console: &Console, wish: &Wish, form: Form, zone: &TimeZone, longest: &mut usize, message: &Message) {
    let process = message.data.get("process");
    let field = |key: &str| process.and_then(|p| p.get(key)).cloned().unwrap_or(Value::Null);
    let name = pm2::js::to_text(&field("name"));
    let namespace = field("namespace").as_str().unwrap_or("default").to_owned();
    let id = field("pm_id");
    let number = pm2::js::as_int(&id).and_then(|id| u32::try_from(id).ok());
    let at = message
        .data
        .get("at")
        .and_then(Value::as_i64)
        .unwrap_or_else(now_ms);
    if message.topic == pm2::bus::TOPIC_PROCESS_EVENT {
        if form == Form::Json && wish.wants(number, &name, &namespace) {
            let event = json!({
                "timestamp": pm2::dates::iso(at), "type": "process_event", "status": message.data.get("event"), "app_name": name,
            });
            console.put(format_args!("{event}\n"));
        }
        return;
    }
    let stream = match message.log_stream() {
        Some("out") if wish.out => Stream::Out,
        Some("err") if wish.err => Stream::Err,
        Some("PM2") if wish.wants_daemon() && form == Form::Lines => Stream::Daemon,
        _ => return,
    };
    if stream != Stream::Daemon && !wish.wants(number, &name, &namespace) {
        return;
    }
    let text = message
        .data
        .get("data")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if form == Form::Json {
        let kind = if stream == Stream::Err { "err" } else { "out" };
        let line = json!({
            "message": text.replace(['\r', '\n'], ""), "timestamp": pm2::dates::iso(at), "type": kind, "process_id": id, "app_name": name,
        });
        console.put(format_args!("{line}\n"));
        return;
    }
    let label = match stream {
        Stream::Daemon => "PM2".to_owned(),
        Stream::Out | Stream::Err => format!("{}|{name}", pm2::js::to_text(&id)),
    };
    *longest = (*longest).max(label.chars().count());
    for line in text
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .filter(|line| !line.is_empty())
    {
        if form == Form::Pairs {
            let kind = if stream == Stream::Err { "error" } else { "out" };
            let time = Pattern::new("YYYY-MM-DD-HH:mm:ssZZ").format(at, zone);
            let id = pm2::js::to_text(&id);
            console.put(format_args!(
                "timestamp={time} app={name} id={id} type={kind} message={line}\n"
            ));
            continue;
        }
        let stamp = wish.timestamp.as_ref().map(|pattern| pattern.format(at, zone));
        let style = wish.style(console, false);
        let padded = format!("{label:<longest$} ", longest = *longest);
        let shown = style.line(&stream.line(&padded, line));
        match stamp {
            Some(stamp) if !wish.raw => put(
                console,
                false,
                &format!("{}{shown}", console.brush.grey(format!("{stamp} "))),
            ),
            _ => put(console, wish.raw && stream == Stream::Err, &shown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::capture;

    fn wish(target: Target) -> Wish {
        Wish {
            target,
            lines: 5,
            out: true,
            err: true,
            raw: false,
            timestamp: None,
            highlight: None,
        }
    }

    fn message(topic: &str, name: &str, data: &str) -> Message {
        Message {
            topic: topic.into(),
            data: json!({ "process": { "pm_id": 0, "name": name, "namespace": "web" }, "at": 0, "data": data }),
        }
    }

    fn shown(wish: &Wish, form: Form, messages: &[Message]) -> (String, String) {
        let (console, out, err) = capture::console(true, None);
        let mut longest = 0;
        for message in messages {
            show(&console, wish, form, &TimeZone::UTC, &mut longest, message);
        }
        (out.text(), err.text())
    }

    #[test]
    fn lines_are_prefixed_and_the_prefix_grows() {
        let messages = [
            message("log:out", "api", "one\n\ntwo\r\n"),
            message("log:err", "worker", "three"),
            message("log:out", "api", "four\n"),
            message("process:event", "api", ""),
        ];
        let (out, _) = shown(&wish(Target::All), Form::Lines, &messages);
        assert_eq!(
            out,
            "0|api  | one\n0|api  | two\n0|worker  | three\n0|api     | four\n"
        );
    }

    #[test]
    fn filters() {
        let all = [
            message("log:out", "api", "a"),
            message("log:err", "api", "b"),
            message("log:out", "other", "c"),
        ];
        let mut by_name = wish(Target::Name("api".into()));
        by_name.out = false;
        assert_eq!(shown(&by_name, Form::Lines, &all).0, "0|api  | b\n");
        assert_eq!(
            shown(&wish(Target::Name("web".into())), Form::Lines, &all)
                .0
                .lines()
                .count(),
            3
        );
        assert_eq!(shown(&wish(Target::Id(1, "1".into())), Form::Lines, &all).0, "");
        assert_eq!(
            shown(
                &wish(Target::Pattern(Regex::new("^o").unwrap())),
                Form::Lines,
                &all
            )
            .0,
            "0|other  | c\n"
        );
        let mut raw = wish(Target::All);
        raw.raw = true;
        assert_eq!(shown(&raw, Form::Lines, &all), ("a\nc\n".into(), "b\n".into()));
        assert_eq!(shown(&raw, Form::Lines, &[message("log:PM2", "PM2", "x")]).0, "");
    }

    #[test]
    fn structured_forms() {
        let all = [
            message("log:err", "api", "a\nb\n"),
            message("process:event", "api", ""),
        ];
        let (out, _) = shown(&wish(Target::All), Form::Json, &all);
        assert_eq!(
            out,
            "{\"message\":\"ab\",\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"type\":\"err\",\"process_id\":0,\"app_name\":\"api\"}\n\
             {\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"type\":\"process_event\",\"status\":null,\"app_name\":\"api\"}\n"
        );
        let (out, _) = shown(&wish(Target::All), Form::Pairs, &all);
        assert_eq!(
            out,
            "timestamp=1970-01-01-00:00:00+0000 app=api id=0 type=error message=a\n\
             timestamp=1970-01-01-00:00:00+0000 app=api id=0 type=error message=b\n"
        );
    }

    #[test]
    fn hostile_messages_are_nothing() {
        for data in [
            Value::Null,
            json!([]),
            json!({ "process": 3, "data": {} }),
            json!({ "at": "x", "data": 5 }),
        ] {
            let message = Message {
                topic: "log:out".into(),
                data,
            };
            assert_eq!(shown(&wish(Target::All), Form::Lines, &[message]).0, "");
        }
    }
}
