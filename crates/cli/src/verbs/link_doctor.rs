//! `link doctor`: goes the way to the hub step by step, and says what to mend.

use super::Then;
use super::doctor::tell;
use super::link::ask_agent;
use crate::context::Context;
use crate::doctor::{Finding, State, node_version};
use crate::failure::Failure;
use crate::{LinkChoice, LinkTyped};
use serde_json::Value;

/// With keys: how they would fare; without: how the stored link does.
pub(super) fn doctor(context: &Context<'_>, keys: &[&str]) -> Result<Then, Failure> {
    let typed = |at: usize| keys.get(at).map(|key| (*key).to_owned());
    let typed = LinkTyped {
        secret: typed(0),
        public: typed(1),
        name: typed(2),
        info_node: context.typed.text("info-node").map(str::to_owned),
    };
    if keys.len() == 1 {
        return Err(Failure::Error(format!(
            "one key is not enough: {} link doctor [<secret> <public> [name]] [--info-node <url>]",
            context.program
        )));
    }
    let home = &context.home.root;
    let stored = context.links.stored(home).map_err(Failure::Error)?;
    let node = node_version().unwrap_or_default();
    let mut findings = vec![agent(context, stored.as_ref())?];
    let examined = context
        .links
        .examine(home, &typed, node.trim(), context.program)
        .map_err(Failure::Error)?;
    findings.extend(examined);
    tell(context, &findings)
}

/// What the agent of this home says of itself.
fn agent(context: &Context<'_>, stored: Option<&LinkChoice>) -> Result<Finding, Failure> {
    let told = match context.client_if_running()? {
        Some(mut client) => ask_agent(context, &mut client),
        None => Value::Null,
    };
    Ok(judge_agent(stored, &told, context.program))
}

fn judge_agent(stored: Option<&LinkChoice>, told: &Value, program: &str) -> Finding {
    let text = |key: &str| told.get(key).and_then(Value::as_str).unwrap_or_default();
    let because = |state: &str| match text("reason") {
        "" => state.to_owned(),
        reason => format!("{state}: {reason}"),
    };
    let finding = |state, text: String, mend: Option<&str>| Finding {
        state,
        area: "agent",
        text,
        mend: mend.map(str::to_owned),
    };
    let Some(stored) = stored else {
        return finding(
            State::Warning,
            "this home is not linked".into(),
            Some(&format!(
                "{program} link <secret> <public> [name] --info-node <url>"
            )),
        );
    };
    match text("state") {
        "linked" if !stored.reverse => finding(
            State::Well,
            format!(
                "linked as {}; commands are disabled on this host",
                stored.machine_name
            ),
            None,
        ),
        "linked" if told.get("commands").and_then(Value::as_bool) == Some(false) => finding(
            State::Warning,
            "linked, but no command comes in".into(),
            Some("see websocket below"),
        ),
        "linked" => finding(State::Well, format!("linked as {}", stored.machine_name), None),
        "refused" => finding(
            State::Broken,
            because("refused by the hub"),
            Some("see keys, plan and versions below"),
        ),
        "pending" => finding(
            State::Broken,
            because("waits for a place"),
            Some("see plan below"),
        ),
        "waiting" => finding(
            State::Broken,
            because("not connected"),
            Some("see below what stands in the way; it tries again by itself"),
        ),
        "idle" | "connecting" => finding(
            State::Warning,
            "it is just connecting".into(),
            Some(&format!("{program} link info, in a moment")),
        ),
        _ => finding(
            State::Broken,
            "none runs".into(),
            Some(&format!("{program} link starts it")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_state_of_the_agent_has_its_mend() {
        let stored = LinkChoice {
            machine_name: "web-1".into(),
            reverse: true,
            ..LinkChoice::default()
        };
        let judge = |told: Value| judge_agent(Some(&stored), &told, "pm2");
        for (told, state, text) in [
            (
                json!({ "state": "linked", "commands": true }),
                State::Well,
                "linked as web-1",
            ),
            (
                json!({ "state": "linked", "commands": false }),
                State::Warning,
                "linked, but no command comes in",
            ),
            (
                json!({ "state": "waiting", "reason": "refused connection" }),
                State::Broken,
                "not connected: refused connection",
            ),
            (
                json!({ "state": "refused", "reason": "unknown keys" }),
                State::Broken,
                "refused by the hub: unknown keys",
            ),
            (json!({ "state": "pending" }), State::Broken, "waits for a place"),
            (
                json!({ "state": "connecting" }),
                State::Warning,
                "it is just connecting",
            ),
            (Value::Null, State::Broken, "none runs"),
        ] {
            let finding = judge(told);
            assert_eq!((finding.state, finding.text.as_str()), (state, text));
            assert_eq!(finding.mend.is_some(), state != State::Well, "{finding:?}");
        }
        let finding = judge_agent(None, &Value::Null, "pm2");
        assert_eq!(finding.state, State::Warning);
        let silent = LinkChoice {
            reverse: false,
            ..stored.clone()
        };
        let told = json!({ "state": "linked", "commands": false });
        assert_eq!(judge_agent(Some(&silent), &told, "pm2").state, State::Well);
    }
}
