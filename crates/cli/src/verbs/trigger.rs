//! `trigger`: calls an action that apps offer, and waits for their answers. `inspect` is the call of one certain action.

use super::Then;
use crate::client::Bus;
use crate::context::Context;
use crate::failure::Failure;
use crate::targets::number;
use pm2::bus::{Message, TOPIC_PROCESS_EVENT};
use pm2::rpc::method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long answers are waited for unless `--timeout` says otherwise: a heap dump of a large app takes half a minute.
const PATIENCE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(250);
const TOPIC_REPLY: &str = "axm:reply";
const INSPECT: &str = "internal:inspect";

pub(crate) fn trigger(context: &Context<'_>) -> Result<Then, Failure> {
    let [target, action, params @ ..] = context.typed.operands.as_slice() else {
        return Err(Failure::Told);
    };
    let answers = call(context, target, action, params.first().map(String::as_str))?;
    answers.complete(action)?;
    Ok(Then::Done)
}

/// Whatever comes of it, it ends with 0, as PM2's does.
pub(crate) fn inspect(context: &Context<'_>) -> Result<Then, Failure> {
    let target = &context.typed.operands[0];
    let said = match call(context, target, INSPECT, None) {
        Ok(answers) => match answers.first {
            Some(Value::String(text)) if text.is_empty() => format!("Inspect disabled on {target}"),
            Some(_) => format!("Inspect enabled on {target} => go to chrome : chrome://inspect !!!"),
            None => format!("Unable to activate inspect mode on {target} !!!"),
        },
        Err(failure) => {
            failure.report(context.console);
            format!("Unable to activate inspect mode on {target} !!!")
        }
    };
    context.console.say(said);
    Ok(Then::Done)
}

/// What came back.
#[derive(Debug, Default, PartialEq)]
struct Answers {
    /// What the first one returned, `null` if nothing.
    first: Option<Value>,
    came: u64,
    /// Processes that ended before they answered.
    ended: Vec<String>,
    /// Processes that neither answered nor ended.
    missing: u64,
}

impl Answers {
    fn complete(&self, action: &str) -> Result<(), Failure> {
        if let Some(label) = self.ended.first() {
            return Err(Failure::Error(format!(
                "{label} ended before it answered {action}"
            )));
        }
        if self.missing > 0 {
            return Err(Failure::Error(format!(
                "{} of {} processes did not answer {action} in time; --timeout makes the wait longer",
                self.missing,
                self.came + self.missing
            )));
        }
        Ok(())
    }
}

fn call(context: &Context<'_>, target: &str, action: &str, params: Option<&str>) -> Result<Answers, Failure> {
    let patience = match context.typed.text("timeout") {
        None => PATIENCE,
        Some(text) => pm2::units::parse_watch_delay(text)
            .map(Duration::from_millis)
            .ok_or_else(|| {
                Failure::Error(format!("--timeout {text}: 4 is seconds, 4000ms are milliseconds"))
            })?,
    };
    let mut command = json!({ "msg": action });
    match number(target) {
        Some(_) => command["id"] = target.into(),
        None => command["name"] = target.into(),
    }
    if let Some(params) = params {
        command["opts"] = params.into();
    }
    let mut client = context.client()?;
    // The bus is joined first: an answer may come before the daemon has said how many to wait for.
    let path = &context.home.pub_sock;
    let mut bus = Bus::connect(path).map_err(Failure::file("listening to", path))?;
    let answer = client
        .ask(method::MSG_PROCESS, &(command,))
        .map_err(|error| match error.refusal() {
            Some(text) => Failure::Plain(text.to_owned()),
            None => Failure::Call(error),
        })?;
    let count = answer.get("process_count").and_then(Value::as_u64).unwrap_or(0);
    if count == 0 {
        return Err(Failure::Plain(
            "Not any process has received a command (offline or unexistent)".into(),
        ));
    }
    let console = context.console;
    console.say(
        console
            .brush
            .bold(format!("{count} processes have received command {action}")),
    );
    let deadline = Instant::now() + patience;
    let mut wait = Wait::new(target, action, count);
    while !wait.is_over() && Instant::now() < deadline && !console.closed() {
        console.flush();
        if let Some(message) = bus.next(TICK)
            && let Some(line) = wait.hear(&message)
        {
            console.say(line);
        }
    }
    Ok(wait.answers())
}

/// Counts who has answered.
struct Wait<'a> {
    target: &'a str,
    action: &'a str,
    left: u64,
    answered: BTreeSet<u32>,
    answers: Answers,
}

impl<'a> Wait<'a> {
    fn new(target: &'a str, action: &'a str, count: u64) -> Self {
        Wait {
            target,
            action,
            left: count,
            answered: BTreeSet::new(),
            answers: Answers::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.left == 0
    }

    fn answers(self) -> Answers {
        Answers {
            missing: self.left,
            ..self.answers
        }
    }

    /// Takes a message of the bus; gives the line to print if it is an answer.
    fn hear(&mut self, message: &Message) -> Option<String> {
        let process = message.data.get("process")?;
        let id = process.get("pm_id").and_then(pm2::rpc::process_id)?;
        let text = |key: &str| process.get(key).map(pm2::js::to_text).unwrap_or_default();
        let (name, namespace) = (text("name"), text("namespace"));
        let is_meant = self.target == "all"
            || self.target == name
            || self.target == namespace
            || number(self.target) == Some(id);
        if message.topic == TOPIC_PROCESS_EVENT {
            let has_ended = message.data.get("event").and_then(Value::as_str) == Some("exit");
            // PM2 tells an exit twice; once is counted.
            if is_meant && has_ended && self.left > 0 && self.answered.insert(id) {
                self.left -= 1;
                self.answers.ended.push(format!("{name}:{id}"));
            }
            return None;
        }
        let said = message.data.get("data")?;
        let named = said.get("action_name").and_then(Value::as_str);
        // Apps are also found by their script, which no answer tells; then the action has to do.
        let is_foreign = number(self.target).is_some_and(|target| target != id);
        if message.topic != TOPIC_REPLY || is_foreign || named.is_some_and(|named| named != self.action) {
            return None;
        }
        self.left = self.left.saturating_sub(1);
        self.answered.insert(id);
        self.answers.came += 1;
        let returned = said.get("return");
        self.answers
            .first
            .get_or_insert_with(|| returned.cloned().unwrap_or_default());
        let shown = returned.map_or_else(|| "undefined".to_owned(), Value::to_string);
        Some(format!("[{name}:{id}:{namespace}]={shown}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(id: u32, action: &str, data: Value) -> Message {
        let mut said = json!({ "action_name": action });
        if !data.is_null() {
            said["return"] = data;
        }
        Message {
            topic: TOPIC_REPLY.into(),
            data: json!({ "at": 1, "data": said, "process": { "pm_id": id, "name": "api", "namespace": "web" } }),
        }
    }

    fn exit(id: u32, name: &str) -> Message {
        Message {
            topic: TOPIC_PROCESS_EVENT.into(),
            data: json!({ "event": "exit", "process": { "pm_id": id, "name": name, "namespace": "web" } }),
        }
    }

    #[test]
    fn answers_are_counted_and_written_as_they_came() {
        let mut wait = Wait::new("api", "go", 2);
        assert_eq!(wait.hear(&reply(0, "other", json!(1))), None);
        assert_eq!(
            wait.hear(&reply(0, "go", json!({ "b": 1, "a": "x" }))).as_deref(),
            Some(r#"[api:0:web]={"b":1,"a":"x"}"#)
        );
        assert!(!wait.is_over());
        assert_eq!(
            wait.hear(&reply(1, "go", Value::Null)).as_deref(),
            Some("[api:1:web]=undefined")
        );
        assert!(wait.is_over());
        let answers = wait.answers();
        assert_eq!(answers.first, Some(json!({ "b": 1, "a": "x" })));
        assert!(answers.complete("go").is_ok());
    }

    #[test]
    fn who_ends_first_answers_no_more() {
        let mut wait = Wait::new("web", "go", 3);
        assert_eq!(wait.hear(&exit(7, "api")), None);
        assert_eq!(wait.hear(&exit(7, "api")), None);
        let mut other = exit(8, "db");
        other.data["process"]["namespace"] = "storage".into();
        wait.hear(&other);
        wait.hear(&reply(1, "go", json!(1)));
        let answers = wait.answers();
        assert_eq!((answers.missing, answers.came), (1, 1));
        let error = answers.complete("go").unwrap_err().to_string();
        assert_eq!(error, "api:7 ended before it answered go");
        let late = Answers {
            came: 1,
            missing: 2,
            ..Answers::default()
        };
        assert!(
            late.complete("go")
                .unwrap_err()
                .to_string()
                .starts_with("2 of 3 processes")
        );
    }

    #[test]
    fn odd_messages_are_passed_over() {
        let mut wait = Wait::new("0", "go", 1);
        for data in [
            Value::Null,
            json!({ "process": {} }),
            json!({ "process": { "pm_id": "_old_3" }, "data": {} }),
        ] {
            let message = Message {
                topic: TOPIC_REPLY.into(),
                data,
            };
            assert_eq!(wait.hear(&message), None);
        }
        assert!(!wait.is_over());
    }
}
