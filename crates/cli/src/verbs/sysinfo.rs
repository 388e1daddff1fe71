//! `slist`: the figures of the host as the daemon tells them.

use super::Then;
use crate::context::Context;
use crate::failure::Failure;
use pm2::Object;
use pm2::inspect::{Options, inspect};
use pm2::rpc::method;
use serde_json::Value;

pub(crate) fn slist(context: &Context<'_>) -> Result<Then, Failure> {
    let metrics = context
        .client()?
        .ask(method::GET_SYSTEM_DATA, &(Object::new(),))?;
    if context.typed.on("json") {
        context.console.put(format_args!("{metrics:#}\n"));
    } else if context.typed.on("tree") {
        let mut out = String::new();
        tree(&metrics, "", &mut out);
        context.console.say(out);
    } else {
        context.console.put(inspect(&metrics, Options::FULL));
    }
    Ok(Then::Done)
}

/// One line per member, those of an object below it.
fn tree(value: &Value, indent: &str, out: &mut String) {
    let Value::Object(map) = value else { return };
    let last = map.len().saturating_sub(1);
    for (at, (key, member)) in map.iter().enumerate() {
        let (branch, below) = if at == last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        out.push_str(indent);
        out.push_str(branch);
        out.push_str(key);
        if !member.is_object() {
            out.push_str(": ");
            out.push_str(&pm2::js::to_text(member));
        }
        out.push('\n');
        tree(member, &format!("{indent}{below}"), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_hang_below_their_object() {
        let mut out = String::new();
        tree(
            &json!({ "a": { "value": 1.5, "historic": true }, "b": { "unit": "%" } }),
            "",
            &mut out,
        );
        assert_eq!(
            out,
            "├─ a\n│  ├─ value: 1.5\n│  └─ historic: true\n└─ b\n   └─ unit: %\n"
        );
    }
}
