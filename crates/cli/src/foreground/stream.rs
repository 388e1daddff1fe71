//! Messages of the bus as lines. Pure.

use crate::style::Brush;
use jiff::tz::TimeZone;
use pm2::bus::Message;
use pm2::dates::{Pattern, iso};
use pm2::js;
use serde_json::{Value, json};

/// How lines are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they are; errors go to standard error.
    Raw,
    /// `0|app  | line`.
    Labelled,
    /// The same behind the time.
    Stamped,
    /// `key=value` pairs.
    Pairs,
    /// One object per line, events too.
    Json,
    /// `app-0  | line`, without the daemon's own words; behind the time if it is true.
    Dev(bool),
    /// As they are, without the daemon's own words.
    DevRaw,
}

/// Where a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Out {
    Plain,
    Error,
}

/// The lines of a message, each with its end.
pub(super) fn lines(
    form: Form,
    message: &Message,
    brush: Brush,
    zone: &TimeZone,
    now_ms: impl Fn() -> i64,
) -> Vec<(Out, String)> {
    let process = message.data.get("process");
    let field = |key: &str| process.and_then(|p| p.get(key)).unwrap_or(&Value::Null);
    let at = message
        .data
        .get("at")
        .and_then(Value::as_i64)
        .unwrap_or_else(now_ms);
    let name = js::to_text(field("name"));
    if message.topic == pm2::bus::TOPIC_PROCESS_EVENT {
        if form != Form::Json {
            return Vec::new();
        }
        let event = json!({
            "timestamp": iso(at), "type": "process_event", "status": message.data.get("event"), "app_name": name,
        });
        return vec![(Out::Plain, format!("{event}\n"))];
    }
    let Some(stream) = message.log_stream() else {
        return Vec::new();
    };
    let text = message
        .data
        .get("data")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let error = stream == "err";
    let each = || {
        text.split('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line))
            .filter(|line| !line.is_empty())
    };
    if stream == "PM2" {
        if matches!(form, Form::Dev(_) | Form::DevRaw) {
            return Vec::new();
        }
        // Its words come without the date under which they stand in its own log.
        let date = Pattern::new("YYYY-MM-DDTHH:mm:ss").format(at, zone);
        return each()
            .map(|line| match line.contains(": PM2 ") {
                true => (
                    Out::Plain,
                    format!(
                        "{line}
"
                    ),
                ),
                false => (
                    Out::Plain,
                    format!(
                        "{date}: PM2 log: {line}
"
                    ),
                ),
            })
            .collect();
    }
    let id = field("pm_id");
    let coloured = |label: String| {
        if error {
            brush.red(label).to_string()
        } else {
            brush.green(label).to_string()
        }
    };
    let stamp = |pattern: &str| Pattern::new(pattern).format(at, zone);
    match form {
        Form::Raw | Form::DevRaw => {
            let out = if error { Out::Error } else { Out::Plain };
            let end = if text.ends_with('\n') || text.is_empty() {
                ""
            } else {
                "\n"
            };
            vec![(out, format!("{text}{end}"))]
        }
        Form::Json => {
            let line = json!({
                "message": text.replace(['\r', '\n'], ""), "timestamp": iso(at), "type": stream, "process_id": id, "app_name": name,
            });
            vec![(Out::Plain, format!("{line}\n"))]
        }
        Form::Pairs => {
            let (time, kind, id) = (
                stamp("YYYY-MM-DD-HH:mm:ssZZ"),
                if error { "error" } else { "out" },
                js::to_text(id),
            );
            each()
                .map(|line| {
                    (
                        Out::Plain,
                        format!("timestamp={time} app={name} id={id} type={kind} message={line}\n"),
                    )
                })
                .collect()
        }
        Form::Labelled | Form::Stamped => {
            let label = coloured(format!("{}|{name}  | ", js::to_text(id)));
            let time = match form {
                Form::Stamped => brush.grey(format!("{} ", stamp("HH:mm:ss"))).to_string(),
                _ => String::new(),
            };
            each()
                .map(|line| (Out::Plain, format!("{time}{label}{line}\n")))
                .collect()
        }
        Form::Dev(stamped) => {
            let label = coloured(format!("{name}-{}  | ", js::to_text(id)));
            let time = match stamped {
                true => brush
                    .grey(format!("{} ", stamp("YYYY-MM-DD-HH:mm:ss")))
                    .to_string(),
                false => String::new(),
            };
            each()
                .map(|line| (Out::Plain, format!("{time}{label}{line}\n")))
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(form: Form, topic: &str, data: Value) -> String {
        let message = Message {
            topic: topic.into(),
            data,
        };
        let lines = lines(form, &message, Brush { on: false }, &TimeZone::UTC, || 0);
        lines
            .into_iter()
            .map(|(out, line)| match out {
                Out::Plain => line,
                Out::Error => format!("E {line}"),
            })
            .collect()
    }

    #[test]
    fn forms() {
        let said = |text: &str| json!({ "process": { "pm_id": 0, "name": "app" }, "at": 0, "data": text });
        let daemon = json!({ "process": { "pm_id": "PM2", "name": "PM2" }, "at": 0, "data": "up\n" });
        let event = json!({ "process": { "name": "app" }, "at": 0, "event": "online" });
        for (form, out, err, pm2, happened) in [
            (
                Form::Raw,
                "a\nb\n",
                "E x\n",
                "1970-01-01T00:00:00: PM2 log: up\n",
                "",
            ),
            (Form::DevRaw, "a\nb\n", "E x\n", "", ""),
            (
                Form::Labelled,
                "0|app  | a\n0|app  | b\n",
                "0|app  | x\n",
                "1970-01-01T00:00:00: PM2 log: up\n",
                "",
            ),
            (
                Form::Stamped,
                "00:00:00 0|app  | a\n00:00:00 0|app  | b\n",
                "00:00:00 0|app  | x\n",
                "1970-01-01T00:00:00: PM2 log: up\n",
                "",
            ),
            (
                Form::Dev(false),
                "app-0  | a\napp-0  | b\n",
                "app-0  | x\n",
                "",
                "",
            ),
            (
                Form::Pairs,
                "timestamp=1970-01-01-00:00:00+0000 app=app id=0 type=out message=a\n\
                 timestamp=1970-01-01-00:00:00+0000 app=app id=0 type=out message=b\n",
                "timestamp=1970-01-01-00:00:00+0000 app=app id=0 type=error message=x\n",
                "1970-01-01T00:00:00: PM2 log: up\n",
                "",
            ),
            (
                Form::Json,
                "{\"message\":\"ab\",\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"type\":\"out\",\"process_id\":0,\"app_name\":\"app\"}\n",
                "{\"message\":\"x\",\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"type\":\"err\",\"process_id\":0,\"app_name\":\"app\"}\n",
                "1970-01-01T00:00:00: PM2 log: up\n",
                "{\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"type\":\"process_event\",\"status\":\"online\",\"app_name\":\"app\"}\n",
            ),
        ] {
            assert_eq!(
                shown(form, "log:out", said("a\r\nb\n").clone()).replace('\r', ""),
                out,
                "{form:?}"
            );
            assert_eq!(shown(form, "log:err", said("x")), err, "{form:?}");
            assert_eq!(shown(form, "log:PM2", daemon.clone()), pm2, "{form:?}");
            assert_eq!(shown(form, "process:event", event.clone()), happened, "{form:?}");
            assert_eq!(shown(form, "process:msg", said("x")), "");
        }
    }
}
