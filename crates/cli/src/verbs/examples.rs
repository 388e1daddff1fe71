//! `examples` and `man`: how it is used; and `deepUpdate`.

use super::Then;
use crate::args::man_page;
use crate::context::Context;
use crate::failure::Failure;

/// What one wants to do, and how it is typed.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "Start an app, in any language",
        &[
            "start app.js --name api",
            "start worker.py",
            "start ./binary -- --port 80",
        ],
    ),
    ("Start a command line", &["start \"npm run serve\" --name web"]),
    (
        "Start as many processes as there are CPUs, sharing one port",
        &["start server.js -i max"],
    ),
    (
        "Start what a file describes",
        &["init simple", "start ecosystem.config.js --env production"],
    ),
    ("See what runs", &["ls", "describe api", "logs api --lines 100"]),
    (
        "Stop, restart, forget",
        &["stop api", "restart all", "delete api"],
    ),
    ("Replace processes without a refused connection", &["reload api"]),
    ("Run more or fewer", &["scale api 4", "scale api +2"]),
    (
        "Restart when files change, or when memory grows",
        &["start app.js --watch", "start app.js --max-memory-restart 300M"],
    ),
    ("Come back after a reboot", &["startup", "save"]),
    ("See it in the dashboard", &["link <secret> <public>"]),
];

pub(crate) fn examples(context: &Context<'_>) -> Result<Then, Failure> {
    let console = context.console;
    console.info(format_args!("{} usage examples:", context.program));
    for (what, lines) in EXAMPLES {
        console.say(format_args!("\n- {what}:\n"));
        for line in *lines {
            console.say(format_args!("  $ {} {line}", context.program));
        }
    }
    console.say("");
    Ok(Then::Done)
}

pub(crate) fn man(context: &Context<'_>) -> Result<Then, Failure> {
    context.console.put(man_page(context.program));
    Ok(Then::Done)
}

/// How a newer release comes onto a machine depends on how this one came: the user's package manager knows, this program does not.
pub(crate) fn deep_update(context: &Context<'_>) -> Result<Then, Failure> {
    Err(Failure::Error(format!(
        "deepUpdate installs nothing by itself: put the new binary in the place of this one, then run: {} update",
        context.program
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::parse;

    #[test]
    fn every_example_can_be_typed() {
        for line in EXAMPLES.iter().flat_map(|(_, lines)| *lines) {
            let words: Vec<String> = pm2::units::split_words(line);
            parse(&words).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}
