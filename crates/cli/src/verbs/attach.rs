//! `attach`: the terminal of one process. What is typed goes to its standard input, what it prints comes back by the bus.

use super::Then;
use crate::client::{Bus, CallError, Client};
use crate::console::Console;
use crate::context::Context;
use crate::failure::Failure;
use crate::targets::number;
use pm2::bus::Message;
use pm2::rpc::method;
use serde_json::{Value, json};
use std::io::{BufRead, Read};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

/// How long the bus is waited for before the keyboard's side is looked at.
const TICK: Duration = Duration::from_millis(50);
/// Longest line that is sent. A terminal has a shorter one.
const MAX_LINE: u64 = 1024 * 1024;

pub(crate) fn attach(context: &Context<'_>) -> Result<Then, Failure> {
    let [target, rest @ ..] = context.typed.operands.as_slice() else {
        return Err(Failure::Told);
    };
    let separator = rest.first().map_or("\n", String::as_str).to_owned();
    let Some(id) = number(target) else {
        return Err(Failure::Plain(
            "pm_id must be a process number (not a process name)".into(),
        ));
    };
    let mut client = context.client()?;
    let list = client.list(Some(&["status"]))?;
    if !list.iter().any(|process| process.pm_id == id) {
        return Err(Failure::Error(format!("Process with ID <{id}> unknown.")));
    }
    let path = &context.home.pub_sock;
    let mut bus = Bus::connect(path).map_err(Failure::file("listening to", path))?;
    let (news, typed) = sync_channel(16);
    std::thread::spawn(move || {
        send_lines(&mut client, id, &separator, |refusal| news.send(refusal).is_ok());
    });
    let console = context.console;
    while !console.closed() && is_going_on(&typed, console) {
        print(console, id, bus.next(TICK));
    }
    // What was on its way when the input ended.
    while !console.closed()
        && let Some(message) = bus.next(TICK)
    {
        print(console, id, Some(message));
    }
    Ok(Then::Done)
}

/// Reads lines until the input ends; `told` gets each refusal, and says whether anybody is there to hear it.
fn send_lines(client: &mut Client, id: u32, separator: &str, told: impl Fn(String) -> bool) {
    let mut input = std::io::stdin().lock();
    loop {
        let mut line = Vec::new();
        match input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
        if line.ends_with(b"\n") {
            line.pop();
        }
        let text = format!("{}{separator}", String::from_utf8_lossy(&line));
        let sent: Result<Value, CallError> = client.ask(
            method::SEND_LINE_TO_STDIN,
            &(json!({ "pm_id": id, "line": text }),),
        );
        if let Err(error) = sent {
            let is_final = error.refusal().is_none();
            if !told(error.to_string()) || is_final {
                return;
            }
        }
    }
}

fn is_going_on(typed: &Receiver<String>, console: &Console) -> bool {
    loop {
        match typed.try_recv() {
            Ok(refusal) => console.error(refusal),
            Err(TryRecvError::Empty) => return true,
            Err(TryRecvError::Disconnected) => return false,
        }
    }
}

fn print(console: &Console, id: u32, message: Option<Message>) {
    let Some(message) = message.filter(|message| is_output_of(id, message)) else {
        return;
    };
    if let Some(text) = message.data.get("data").and_then(Value::as_str) {
        console.put(text);
        console.flush();
    }
}

fn is_output_of(id: u32, message: &Message) -> bool {
    let process = message
        .data
        .get("process")
        .and_then(|process| process.get("pm_id"));
    matches!(message.log_stream(), Some("out" | "err")) && process.and_then(pm2::rpc::process_id) == Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_output_of_the_one_process_is_shown() {
        let message = |topic: &str, id: Value| Message {
            topic: topic.into(),
            data: json!({ "process": { "pm_id": id, "name": "x" }, "at": 1, "data": "text\n" }),
        };
        for (topic, id, shown) in [
            ("log:out", json!(3), true),
            ("log:err", json!("3"), true),
            ("log:out", json!(4), false),
            ("log:PM2", json!("PM2"), false),
            ("process:msg", json!(3), false),
        ] {
            assert_eq!(
                is_output_of(3, &message(topic, id.clone())),
                shown,
                "{topic} {id}"
            );
        }
    }
}
