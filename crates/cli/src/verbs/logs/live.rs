//! What comes by the bus.

use std::time::Duration;

use pm2::bus::Message;
use pm2::dates::{Pattern, TimeZone};
use serde_json::{Value, json};

use super::past::put;
use super::wish::{Form, Stream, Wish};
use crate::client::Bus;
use crate::console::Console;
use crate::context::Context;
use crate::home::now_ms;

/// How long the bus is waited for before the reader's presence is looked at.
const TICK: Duration = Duration::from_millis(500);

/// Until nobody reads any more.
pub(super) fn follow(context: &Context<'_>, wish: &Wish, bus: &mut Bus) {
    let console = context.console;
    let zone = TimeZone::system();
    let mut longest = 0;
    console.flush();
    while !console.closed() {
        let Some(message) = bus.next(TICK) else { continue };
        show(console, wish, &zone, &mut longest, &message);
        console.flush();
    }
}

/// A line, or in the structured form a piece of several, and who said it when.
pub(super) struct Said<'a> {
    pub(super) stream: Stream,
    pub(super) id: Value,
    pub(super) name: &'a str,
    /// `None`: nobody knows.
    pub(super) at_ms: Option<i64>,
    pub(super) text: &'a str,
}

fn show(console: &Console, wish: &Wish, zone: &TimeZone, longest: &mut usize, message: &Message) {
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
        if wish.form == Form::Json && wish.wants(number, &name, &namespace) {
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
        Some("PM2") if wish.wants_daemon() && wish.form == Form::Lines => Stream::Daemon,
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
    let said = |text| Said {
        stream,
        id: id.clone(),
        name: &name,
        at_ms: Some(at),
        text,
    };
    // Whoever looks for lines gets lines, also where PM2 gives pieces.
    if wish.form == Form::Json && wish.grep.is_none() {
        show_line(console, wish, zone, longest, &said(text));
        return;
    }
    for line in text
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .filter(|line| !line.is_empty() && wish.takes(line))
    {
        show_line(console, wish, zone, longest, &said(line));
    }
}

/// Shows one line in the form that is wished for.
pub(super) fn show_line(
    console: &Console,
    wish: &Wish,
    zone: &TimeZone,
    longest: &mut usize,
    said: &Said<'_>,
) {
    let (stream, at) = (said.stream, said.at_ms);
    let id = pm2::js::to_text(&said.id);
    match wish.form {
        Form::Json => {
            let kind = if stream == Stream::Err { "err" } else { "out" };
            let line = json!({
                "message": said.text.replace(['\r', '\n'], ""), "timestamp": at.map(pm2::dates::iso), "type": kind,
                "process_id": said.id, "app_name": said.name,
            });
            console.put(format_args!("{line}\n"));
        }
        Form::Pairs => {
            let kind = if stream == Stream::Err { "error" } else { "out" };
            let time = at.map(|at| Pattern::new("YYYY-MM-DD-HH:mm:ssZZ").format(at, zone));
            console.put(format_args!(
                "timestamp={} app={} id={id} type={kind} message={}\n",
                time.unwrap_or_default(),
                said.name,
                said.text
            ));
        }
        Form::Lines => {
            let label = match stream {
                Stream::Daemon => "PM2".to_owned(),
                Stream::Out | Stream::Err => format!("{id}|{}", said.name),
            };
            *longest = (*longest).max(label.chars().count());
            let stamp = wish
                .timestamp
                .as_ref()
                .zip(at)
                .map(|(pattern, at)| pattern.format(at, zone));
            let style = wish.style(console, false);
            let padded = format!("{label:<longest$} ", longest = *longest);
            let shown = style.line(&stream.line(&padded, said.text));
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
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::super::wish::Target;
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
            form: Form::Lines,
            span: logs::history::Span::default(),
            grep: None,
            counted: false,
            live: true,
        }
    }

    fn formed(form: Form) -> Wish {
        Wish {
            form,
            ..wish(Target::All)
        }
    }

    fn message(topic: &str, name: &str, data: &str) -> Message {
        Message {
            topic: topic.into(),
            data: json!({ "process": { "pm_id": 0, "name": name, "namespace": "web" }, "at": 0, "data": data }),
        }
    }

    fn shown(wish: &Wish, messages: &[Message]) -> (String, String) {
        let (console, out, err) = capture::console(true, None);
        let mut longest = 0;
        for message in messages {
            show(&console, wish, &TimeZone::UTC, &mut longest, message);
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
        let (out, _) = shown(&wish(Target::All), &messages);
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
        assert_eq!(shown(&by_name, &all).0, "0|api  | b\n");
        assert_eq!(
            shown(&wish(Target::Name("web".into())), &all).0.lines().count(),
            3
        );
        assert_eq!(shown(&wish(Target::Id(1, "1".into())), &all).0, "");
        assert_eq!(
            shown(&wish(Target::Pattern(Regex::new("^o").unwrap())), &all).0,
            "0|other  | c\n"
        );
        let mut raw = wish(Target::All);
        raw.raw = true;
        assert_eq!(shown(&raw, &all), ("a\nc\n".into(), "b\n".into()));
        assert_eq!(shown(&raw, &[message("log:PM2", "PM2", "x")]).0, "");
    }

    #[test]
    fn structured_forms() {
        let all = [
            message("log:err", "api", "a\nb\n"),
            message("process:event", "api", ""),
        ];
        let (out, _) = shown(&formed(Form::Json), &all);
        assert_eq!(
            out,
            "{\"message\":\"ab\",\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"type\":\"err\",\"process_id\":0,\"app_name\":\"api\"}\n\
             {\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"type\":\"process_event\",\"status\":null,\"app_name\":\"api\"}\n"
        );
        let (out, _) = shown(&formed(Form::Pairs), &all);
        assert_eq!(
            out,
            "timestamp=1970-01-01-00:00:00+0000 app=api id=0 type=error message=a\n\
             timestamp=1970-01-01-00:00:00+0000 app=api id=0 type=error message=b\n"
        );
    }

    #[test]
    fn only_lines_with_a_match() {
        let grep = Regex::new("^GET").unwrap();
        let all = [message("log:out", "api", "GET /\nPOST /\nget\n")];
        for (form, expected) in [
            (Form::Lines, "0|api  | GET /\n"),
            (
                Form::Json,
                "{\"message\":\"GET /\",\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"type\":\"out\",\"process_id\":0,\"app_name\":\"api\"}\n",
            ),
        ] {
            let wish = Wish {
                grep: Some(grep.clone()),
                ..formed(form)
            };
            assert_eq!(shown(&wish, &all).0, expected);
        }
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
            assert_eq!(shown(&wish(Target::All), &[message]).0, "");
        }
    }
}
