//! `doctor`: looks at home, daemon and host, and says what to mend.

use super::Then;
use crate::context::Context;
use crate::doctor::{Finding, State, gather, judge};
use crate::failure::Failure;
use serde_json::{Value, json};

pub(crate) fn doctor(context: &Context<'_>) -> Result<Then, Failure> {
    tell(context, &judge(&gather(context), context.program))
}

/// Shows findings, as JSON if that was asked for; what is broken makes the verb fail.
pub(super) fn tell(context: &Context<'_>, findings: &[Finding]) -> Result<Then, Failure> {
    let console = context.console;
    if context.typed.on("json") {
        let list: Vec<Value> = findings
            .iter()
            .map(|finding| {
                json!({
                    "state": finding.state.name(),
                    "area": finding.area,
                    "text": finding.text,
                    "mend": finding.mend,
                })
            })
            .collect();
        console.put(format_args!("{:#}\n", Value::Array(list)));
    } else {
        let brush = console.brush;
        for finding in findings {
            let mark = match finding.state {
                State::Well => brush.green("✓"),
                State::Unknown => brush.grey("·"),
                State::Warning => brush.yellow("!"),
                State::Broken => brush.red("✗"),
            };
            console.say(format_args!("{mark} {:<12} {}", finding.area, finding.text));
            if let Some(mend) = &finding.mend {
                console.say(format_args!(
                    "  {:<12} {}",
                    "",
                    brush.bold(format_args!("→ {mend}"))
                ));
            }
        }
    }
    if findings.iter().any(|finding| finding.state == State::Broken) {
        Err(Failure::Told)
    } else {
        Ok(Then::Done)
    }
}
