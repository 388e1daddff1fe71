//! link and unlink: the way to a hub.

use super::Then;
use crate::client::{CallError, Client};
use crate::context::Context;
use crate::failure::Failure;
use crate::{LinkChoice, LinkTyped};
use pm2::Object;
use pm2::rpc::method;
use serde_json::Value;
use std::time::{Duration, Instant};

/// After this the agent goes on trying by itself.
const PATIENCE: Duration = Duration::from_secs(7);
const POLL: Duration = Duration::from_millis(50);

pub(crate) fn link(context: &Context<'_>) -> Result<Then, Failure> {
    let operands: Vec<&str> = context.typed.operands.iter().map(String::as_str).collect();
    match operands.as_slice() {
        ["info"] => info(context),
        ["stop" | "kill"] => stop(context),
        ["delete"] => unlink(context),
        ["doctor", keys @ ..] => super::link_doctor::doctor(context, keys),
        ["inspect"] if context.typed.on("fields") => super::link_fields::fields(context),
        ["inspect", seconds @ ..] => super::link_inspect::inspect(context, seconds.first().copied()),
        [] => begin(context, LinkTyped::default()),
        [key] => Err(Failure::Error(format!(
            "one key is not enough: {} link <secret> <public> [name] --info-node <url>, or link info, doctor, inspect, stop, delete (not {})",
            context.program,
            masked(key)
        ))),
        [secret, public, rest @ ..] => begin(
            context,
            LinkTyped {
                secret: Some((*secret).to_owned()),
                public: Some((*public).to_owned()),
                name: rest.first().map(|name| (*name).to_owned()),
                info_node: None,
            },
        ),
    }
}

/// Links with keys that were given otherwise than as operands.
pub(crate) fn with_keys(
    context: &Context<'_>,
    secret: String,
    public: String,
    name: Option<String>,
    root: Option<String>,
) -> Result<Then, Failure> {
    begin(
        context,
        LinkTyped {
            secret: Some(secret),
            public: Some(public),
            name,
            info_node: root,
        },
    )
}

/// Stores the link, starts the agent and waits for the hub's word.
fn begin(context: &Context<'_>, mut typed: LinkTyped) -> Result<Then, Failure> {
    let console = context.console;
    let asked = context.typed.text("info-node").map(str::to_owned);
    typed.info_node = typed.info_node.or(asked);
    let plain = typed == LinkTyped::default();
    crate::home::prepare(&context.home)?;
    let choice = context.links.link(&context.home.root, &typed).map_err(|reason| {
        let hint = match plain {
            true => "\nThe keys are printed by the hub at its first start, and stand in its dashboard under Connect.",
            false => "",
        };
        Failure::Error(format!("{reason}{hint}"))
    })?;
    for (what, origin) in &choice.origins {
        console.info(format_args!("{what} from {origin}"));
    }
    console.info(format_args!(
        "Linking {} to {} with public key {} and secret key {}",
        choice.machine_name, choice.root, choice.public_masked, choice.secret_masked
    ));
    for home in context.links.neighbours(&context.home.root) {
        console.warn(format_args!(
            "another home of this host, {}, is linked under the same name: {}. Link one of them under another: \
             PM2_MACHINE_NAME=<name> {} link",
            home.display(),
            choice.machine_name,
            context.program
        ));
    }
    console.flush();
    let mut client = context.client()?;
    client
        .act(method::AGENT_LINK, &(Object::new(),))
        .map_err(no_agent)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let info = client
            .ask(method::AGENT_INFO, &(Object::new(),))
            .map_err(no_agent)?;
        let state = info.get("state").and_then(Value::as_str).unwrap_or("stopped");
        let reason = info.get("reason").and_then(Value::as_str).unwrap_or_default();
        match state {
            "linked" => {
                let host = info
                    .get("remote_host")
                    .and_then(Value::as_str)
                    .unwrap_or(&choice.root);
                console.info(format_args!(
                    "[v] Linked: {} is shown at {host}",
                    choice.machine_name
                ));
                return Ok(Then::Done);
            }
            "refused" => return Err(refused(context, &mut client, reason, plain)),
            // The keys are right, so they are kept: the agent comes in by itself when there is a place.
            "pending" => {
                return Err(Failure::Error(format!(
                    "Pending: {reason}\nYou must upgrade your bucket in order to monitor more servers."
                )));
            }
            _ if Instant::now() < deadline => std::thread::sleep(POLL),
            _ => {
                let reason = if reason.is_empty() { "no answer" } else { reason };
                for place in super::link_reach::unreachable(&places(&info)) {
                    console.warn(format_args!("No connection to {place}"));
                }
                console.warn(format_args!(
                    "Not connected to the hub yet ({reason}), retrying in background; see {} and `{} link doctor`",
                    context.home.agent_log.display(),
                    context.program
                ));
                return Ok(Then::Done);
            }
        }
    }
}

/// `host:port` of each address that the agent connects to.
fn places(info: &Value) -> Vec<String> {
    let places = info.get("places").and_then(Value::as_array).into_iter().flatten();
    places.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Keys that the hub does not know are not kept: the link that was there before comes back.
fn refused(context: &Context<'_>, client: &mut Client, reason: &str, plain: bool) -> Failure {
    let mut text = format!("The hub refused this link: {reason}");
    if !plain {
        // What can't be undone is at least said.
        let undone = context.links.undo(&context.home.root).and_then(|()| {
            let before = context.links.stored(&context.home.root)?;
            let method = if before.is_some() {
                method::AGENT_LINK
            } else {
                method::AGENT_STOP
            };
            client
                .act(method, &(Object::new(),))
                .map(|_| ())
                .map_err(|error| error.to_string())
        });
        text.push_str(&match undone {
            Ok(()) => "; nothing was changed".to_owned(),
            Err(reason) => format!("; going back to the link before failed: {reason}"),
        });
    }
    Failure::Error(text)
}

fn info(context: &Context<'_>) -> Result<Then, Failure> {
    let stored = context.links.stored(&context.home.root).map_err(Failure::Error)?;
    let Some(stored) = stored else {
        return Err(Failure::Error(format!(
            "this machine is not linked: {} link <secret> <public> [name] --info-node <url>",
            context.program
        )));
    };
    let live = match context.client_if_running()? {
        Some(mut client) => ask_agent(context, &mut client),
        None => Value::Null,
    };
    if context.typed.on("json") {
        let object: Object = info_rows(&stored, &live)
            .into_iter()
            .map(|(name, value)| (info_key(name), value.into()))
            .collect();
        context.console.put(format_args!("{:#}\n", Value::Object(object)));
    } else {
        context
            .console
            .say(info_text(&stored, &live).trim_end_matches('\n'));
    }
    Ok(Then::Done)
}

/// What the agent tells of itself; `null` if there is none.
pub(super) fn ask_agent(context: &Context<'_>, client: &mut Client) -> Value {
    match client.ask(method::AGENT_INFO, &(Object::new(),)) {
        Ok(told) => told,
        Err(error) if is_foreign(&error) => crate::their_agent::ask(&context.home).unwrap_or(Value::Null),
        Err(_) => Value::Null,
    }
}

/// A row's name as a key of JSON.
pub(super) fn info_key(name: &str) -> String {
    name.to_lowercase().replace(" / ", "_").replace(' ', "_")
}

fn info_text(stored: &LinkChoice, live: &Value) -> String {
    info_rows(stored, live)
        .iter()
        .map(|(key, value)| format!("{key:<16}: {value}\n"))
        .collect()
}

pub(super) fn info_rows(stored: &LinkChoice, live: &Value) -> [(&'static str, String); 9] {
    let text = |key: &str| live.get(key).and_then(Value::as_str);
    let connected = live.get("connected").and_then(Value::as_bool).unwrap_or(false);
    let state = match (text("state"), text("reason")) {
        (Some(state), Some(reason)) => format!("{state}: {reason}"),
        (Some(state), None) => state.to_owned(),
        (None, _) => "stopped".to_owned(),
    };
    let flag = |key: &str, default| live.get(key).and_then(Value::as_bool).unwrap_or(default);
    let reverse = match (flag("reverse", stored.reverse), connected, flag("commands", true)) {
        (false, ..) => "disabled on this host".to_owned(),
        (true, true, true) => "connected".to_owned(),
        (true, true, false) => match (text("commands_trouble"), text("transporters")) {
            (Some(why), _) => format!("not connected: {why}"),
            (None, Some("push")) => {
                "not connected: no WebSocket gets through, data goes out by HTTP POST".to_owned()
            }
            (None, _) => "connecting".to_owned(),
        },
        (true, false, _) => "not connected".to_owned(),
    };
    let count = |key: &str| live.get(key).and_then(Value::as_u64).unwrap_or(0);
    let lost = count("reports_dropped") + count("observations_lost") + count("log_lines_lost");
    [
        (
            "Server name",
            text("machine_name").unwrap_or(&stored.machine_name).to_owned(),
        ),
        (
            "Public key",
            match connected {
                // The keys may have been given the wrong way round, until the hub took them.
                true => text("public_key").unwrap_or(&stored.public_key),
                false => &stored.public_masked,
            }
            .to_owned(),
        ),
        ("Secret key", stored.secret_masked.clone()),
        (
            "Remote host",
            text("remote_host").unwrap_or(&stored.root).to_owned(),
        ),
        ("Connected", if connected { "yes" } else { "no" }.to_owned()),
        ("State", state),
        (
            "Data channel",
            if connected { "connected" } else { "not connected" }.to_owned(),
        ),
        ("Command channel", reverse),
        (
            "Waiting / lost",
            format!("{} reports / {lost}", count("reports_waiting")),
        ),
    ]
}

fn stop(context: &Context<'_>) -> Result<Then, Failure> {
    stop_agent(context)?;
    context.console.info(format_args!(
        "Agent stopped; `{} link` starts it again",
        context.program
    ));
    Ok(Then::Done)
}

pub(crate) fn unlink(context: &Context<'_>) -> Result<Then, Failure> {
    stop_agent(context)?;
    let was = context.links.forget(&context.home.root).map_err(Failure::Error)?;
    context.console.info("Agent stopped");
    context.console.info(if was {
        "Link and its keys deleted"
    } else {
        "This machine was not linked"
    });
    Ok(Then::Done)
}

/// Without a daemon there is no agent; none is started to stop it.
fn stop_agent(context: &Context<'_>) -> Result<(), Failure> {
    let Some(mut client) = context.client_if_running()? else {
        return Ok(());
    };
    match client.act(method::AGENT_STOP, &(Object::new(),)) {
        Ok(_) => Ok(()),
        Err(error) if is_foreign(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A node PM2 daemon has no agent of ours.
fn is_foreign(error: &CallError) -> bool {
    error
        .refusal()
        .is_some_and(|text| text.contains("does not exist"))
}

pub(super) fn no_agent(error: CallError) -> Failure {
    if is_foreign(&error) {
        return Failure::Error(
            "the daemon of this home is node PM2, which can't link to a Pilothouse hub by itself".into(),
        );
    }
    Failure::Call(error)
}

/// What may be a key is not shown.
fn masked(key: &str) -> String {
    if key.len() < 10 {
        key.to_owned()
    } else {
        "********".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_says_what_is_known_and_no_secret() {
        let stored = LinkChoice {
            public_key: "pubpubpubpub".into(),
            public_masked: "pub********".into(),
            secret_masked: "sec********".into(),
            machine_name: "web-1".into(),
            root: "https://hub.example.org".into(),
            reverse: true,
            origins: Vec::new(),
        };
        let live = serde_json::json!({ "connected": true, "state": "linked", "secret_key": "never shown", "reports_waiting": 3, "log_lines_lost": 2 });
        insta::assert_snapshot!(info_text(&stored, &live), @"
        Server name     : web-1
        Public key      : pubpubpubpub
        Secret key      : sec********
        Remote host     : https://hub.example.org
        Connected       : yes
        State           : linked
        Data channel    : connected
        Command channel : connected
        Waiting / lost  : 3 reports / 2
        ");
        insta::assert_snapshot!(info_text(&stored, &Value::Null), @"
        Server name     : web-1
        Public key      : pub********
        Secret key      : sec********
        Remote host     : https://hub.example.org
        Connected       : no
        State           : stopped
        Data channel    : not connected
        Command channel : not connected
        Waiting / lost  : 0 reports / 0
        ");
        assert_eq!(masked("frob"), "frob");
        assert_eq!(masked("a1b2c3d4e5f6g7"), "********");
    }
}
