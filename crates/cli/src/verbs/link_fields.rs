//! `link inspect --fields`: the list of every field that may leave this host, as it was sealed for the hub.

use super::Then;
use crate::context::Context;
use crate::failure::Failure;
use serde_json::Value;
use std::fmt::Write as _;

pub(super) fn fields(context: &Context<'_>) -> Result<Then, Failure> {
    let list = context.links.fields(&context.home.root);
    if context.typed.on("json") {
        context.console.put(format_args!("{list:#}\n"));
    } else {
        context.console.say(words(&list));
    }
    Ok(Then::Done)
}

fn words(list: &Value) -> String {
    let text = |of: &Value, key: &str| of[key].as_str().unwrap_or_default().to_owned();
    let each = |of: &Value, key: &str| of[key].as_array().cloned().unwrap_or_default();
    let mut out = format!("{}\n", text(list, "preamble"));
    for section in each(list, "sections") {
        let packets: Vec<String> = each(&section, "packets")
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect();
        // Writing to a String does not fail.
        let _ = write!(
            out,
            "\n{}, in {}: {}\n",
            text(&section, "name"),
            packets.join(", "),
            text(&section, "why")
        );
        let fields = each(&section, "fields");
        let width = fields
            .iter()
            .map(|field| text(field, "name").len())
            .max()
            .unwrap_or(0);
        for field in fields {
            let (name, what, example) = (
                text(&field, "name"),
                text(&field, "what"),
                text(&field, "example"),
            );
            let _ = if example.starts_with("see ") {
                writeln!(
                    out,
                    "  {name:width$}  {what}{}",
                    if what == example {
                        String::new()
                    } else {
                        format!(" ({example})")
                    }
                )
            } else {
                writeln!(out, "  {name:width$}  {what}, such as {example}")
            };
        }
    }
    let _ = write!(out, "\nSHA-256 of this list  {}\n", text(list, "digest"));
    let _ = match list["host_key"].as_str() {
        Some(key) => write!(
            out,
            "Signed by host key    {key}\nThe dashboard shows the same key for this server."
        ),
        None => write!(
            out,
            "This host has no key yet: it is made when it is linked, and signs this list."
        ),
    };
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_field_is_told_with_its_packet_its_reason_and_an_example() {
        let list = json!({
            "digest": "abc", "host_key": null, "preamble": "What leaves.",
            "sections": [{ "name": "Ping", "packets": ["Ping", "Pong"], "why": "are you there?", "fields": [
                { "name": "token", "what": "a number", "example": "7" },
                { "name": "of", "what": "who", "example": "see Host" },
            ] }],
        });
        let told = words(&list);
        for line in [
            "What leaves.",
            "Ping, in Ping, Pong: are you there?",
            "  token  a number, such as 7",
            "  of     who (see Host)",
            "SHA-256 of this list  abc",
        ] {
            assert!(told.lines().any(|said| said == line), "{line}: {told}");
        }
        assert!(told.contains("no key yet"));
        let signed = words(&json!({ "host_key": "SHA256:x" }));
        assert!(signed.contains("Signed by host key    SHA256:x"), "{signed}");
    }
}
