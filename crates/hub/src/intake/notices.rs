//! Payloads of the events that PM2's clients listen to, in PM2's words, whichever agent told.

use serde_json::{Value, json};

use crate::live::link::{ActionError, Request};
use crate::live::logs::LogBatch;
use crate::live::{HubEvent, Link};

/// Which process an event is about, in PM2's words.
pub(super) fn process(pm_id: u32, name: &str, rev: &str, server: &str) -> Value {
    json!({ "pm_id": pm_id, "name": name, "rev": (!rev.is_empty()).then_some(rev), "server": server })
}

/// What PM2's clients are told when an action ended: (channel, payload), in order.
pub(super) fn action_ended(
    request: &Request,
    outcome: &Result<Value, ActionError>,
    server_name: &str,
    public_key: &str,
    at: i64,
) -> Vec<(&'static str, Value)> {
    let error = outcome.as_ref().err().map(ToString::to_string);
    match request {
        Request::Custom {
            name, target, scope, ..
        } => {
            let id = target.pm_id();
            if let Some(error) = error {
                let payload = json!({ "success": false, "err": error, "id": id, "action_name": name });
                return vec![("trigger:action:failure", payload)];
            }
            let mut told = vec![(
                "trigger:action:success",
                json!({ "success": true, "id": id, "action_name": name }),
            )];
            if scope.is_none() {
                let data = json!({ "at": at, "action_name": name, "return": outcome.as_ref().ok() });
                let process = process(id.unwrap_or_default(), target.app(), "", server_name);
                told.push(("axm:reply", json!({ "at": at, "data": data, "process": process })));
            }
            told
        }
        _ => {
            let mut ret = json!({ "err": error });
            if let Ok(data) = outcome
                && !data.is_null()
            {
                ret["data"] = data.clone();
            }
            let meta = json!({
                "method_name": request.name(),
                "app_name": request.app(),
                "machine_name": server_name,
                "public_key": public_key,
            });
            vec![("trigger:pm2:result", json!({ "ret": ret, "meta": meta }))]
        }
    }
}

/// Bytes of lines passed on at once: watchers that are slow hold several of these.
const MAX_LOG_BATCH: usize = 1 << 20;

/// Hands log lines to those who watch, and in PM2's words to those who listen.
pub(super) fn pass_logs(link: &Link, mut batch: LogBatch) {
    let mut room = MAX_LOG_BATCH;
    let fitting = batch.lines.iter().take_while(|line| {
        let left = room.checked_sub(line.text.len() + 32);
        room = left.unwrap_or(0);
        left.is_some()
    });
    let fitting = fitting.count();
    batch.dropped += (batch.lines.len() - fitting) as u64;
    batch.lines.truncate(fitting);
    if batch.lines.is_empty() && batch.dropped == 0 {
        return;
    }
    let bucket = link.bucket();
    if bucket.has_listeners()
        && let Some(first) = batch.lines.first()
    {
        let packets: Value = batch
            .lines
            .iter()
            .map(|line| {
                json!({
                    "at": line.at,
                    "process": process(line.pm_id, &line.app, "", &batch.server_name),
                    "data": format!("{}\n", line.text),
                    "log_type": if line.err { "err" } else { "out" },
                })
            })
            .collect();
        bucket.publish(HubEvent {
            server: batch.server,
            server_name: batch.server_name.clone(),
            at: first.at,
            pm_id: None,
            channel: "logs".into(),
            payload: packets,
        });
    }
    link.tap().give(batch);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::link::{Target, Verb};

    #[test]
    fn a_method_ends_in_one_result() {
        let request = Request::Manage {
            verb: Verb::Restart,
            target: Target::App("api".into()),
        };
        let told = action_ended(&request, &Ok(Value::Null), "web", "pub", 5);
        let expected = json!({
            "ret": { "err": null },
            "meta": { "method_name": "restart", "app_name": "api", "machine_name": "web", "public_key": "pub" },
        });
        assert_eq!(told, [("trigger:pm2:result", expected)]);
    }

    #[test]
    fn a_custom_action_is_accepted_and_answered() {
        let target = Target::Entry {
            pm_id: 3,
            app: "api".into(),
        };
        let request = Request::Custom {
            name: "gc".into(),
            target,
            param: None,
            scope: None,
        };
        let told = action_ended(&request, &Ok(json!({ "freed": 7 })), "web", "pub", 5);
        assert_eq!(
            told.iter().map(|t| t.0).collect::<Vec<_>>(),
            ["trigger:action:success", "axm:reply"]
        );
        assert_eq!(told[1].1["data"]["return"], json!({ "freed": 7 }));
        let told = action_ended(
            &request,
            &Err(ActionError::Refused("no such action".into())),
            "web",
            "pub",
            5,
        );
        assert_eq!(
            told.iter().map(|t| t.0).collect::<Vec<_>>(),
            ["trigger:action:failure"]
        );
    }
}
