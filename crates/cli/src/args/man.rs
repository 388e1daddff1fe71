//! The manual page, made from the table. In roff's `man` macros.

use super::examples;
use super::options::{GLOBAL, Opt, Takes};
use super::table::VERBS;
use std::fmt::Write as _;

const FILES: &[(&str, &str)] = &[
    ("$PM2_HOME", "the home; ~/.pm2 unless it is set"),
    ("$PM2_HOME/pm2.log", "what the daemon has to say"),
    ("$PM2_HOME/logs/", "output of the apps"),
    ("$PM2_HOME/pids/", "a pid file of each app"),
    ("$PM2_HOME/dump.pm2", "the list that save wrote"),
    ("$PM2_HOME/module_conf.json", "what set stored"),
    ("$PM2_HOME/otel/", "the packages of install-otel"),
    (
        "ecosystem.config.js",
        "what start, apply and validate take when no file is named",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("PM2_HOME", "the home"),
    ("PM2_SILENT", "if set, print nothing but what was asked for"),
    (
        "PM2_CONCURRENT_ACTIONS",
        "how many processes are restarted at once",
    ),
    (
        "PM2_KILL_TIMEOUT",
        "milliseconds between the stop signal and SIGKILL, unless an app says otherwise",
    ),
    ("PM2_KILL_SIGNAL", "the stop signal; SIGINT unless it is set"),
    (
        "PM2_SOCKET_GROUP",
        "number of the group that may use the daemon's sockets",
    ),
    (
        "NO_COLOR, FORCE_COLOR",
        "no colours, colours also where there is no terminal",
    ),
    (
        "OTEL_TRACES_EXPORTER, OTEL_EXPORTER_OTLP_ENDPOINT",
        "of an app that is traced: where its spans go, instead of to the bus",
    ),
    (
        "PILOTHOUSE_PRELOAD=off",
        "of an app: nothing is loaded into it, neither monitoring nor what drains a worker",
    ),
];

const NOTES: &[(&str, &str)] = &[(
    "ES modules that cannot be loaded",
    "Their process stays, online and idle, as with PM2; list, describe and doctor say why, a reload to it is undone, and --wait fails. With \
     --node-args=--unhandled-rejections=strict it ends instead, and is restarted by its rules.",
)];

/// The whole page.
pub(crate) fn man_page(program: &str) -> String {
    let mut out = format!(
        ".TH {} 1 \"\" \"Pilothouse {}\" \"User Commands\"\n\
         .SH NAME\n{program} \\- keeps programs running, and shows how they are\n\
         .SH SYNOPSIS\n.B {program}\n[\\fIoptions\\fR] \\fIcommand\\fR [\\fIarguments\\fR] [\\-\\- \\fIscript arguments\\fR]\n\
         .SH DESCRIPTION\nA process manager with the commands, files and sockets of PM2 {}. A daemon in the background starts programs, restarts \
         them when they end, and writes their output to files. Options may stand anywhere before \\-\\-; what stands behind it belongs to \
         the script.\n.SH COMMANDS\n",
        program.to_uppercase(),
        env!("CARGO_PKG_VERSION"),
        pm2::COMPAT_VERSION,
    );
    for entry in VERBS {
        let names = entry.names.join("\\fR|\\fB");
        let _ = writeln!(
            out,
            ".TP\n\\fB{}\\fR {}\n{}",
            names,
            escape(entry.operands),
            line(entry.help)
        );
        for option in entry.options {
            let _ = writeln!(out, ".RS\n.TP\n{}\n{}\n.RE", head(option), line(option.help));
        }
        for example in examples::of(entry.verb) {
            let _ = writeln!(out, ".RS\n.EX\n$ {program} {}\n.EE\n.RE", escape(example));
        }
    }
    out.push_str(".SH OPTIONS\n");
    for option in GLOBAL {
        let _ = writeln!(out, ".TP\n{}\n{}", head(option), line(option.help));
    }
    for (title, rows) in [("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT), ("NOTES", NOTES)] {
        let _ = writeln!(out, ".SH {title}");
        for (name, text) in rows {
            let _ = writeln!(out, ".TP\n.I {}\n{}", escape(name), line(text));
        }
    }
    out.push_str(".SH EXIT STATUS\n0 when what was asked for was done, 1 when it was not.\n");
    out
}

fn head(option: &Opt) -> String {
    let short = option
        .short
        .map(|letter| format!("\\fB\\-{letter}\\fR, "))
        .unwrap_or_default();
    let value = match option.takes {
        Takes::Nothing => String::new(),
        Takes::Value(name) => format!(" \\fI{}\\fR", escape(name)),
        Takes::Maybe(name) => format!(" [\\fI{}\\fR]", escape(name)),
    };
    format!("{short}\\fB\\-\\-{}\\fR{value}", escape(option.long))
}

/// A line of text: one that begins with a dot or a quote would be a request.
fn line(text: &str) -> String {
    let text = escape(text);
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_on_the_page() {
        let page = man_page("pm2");
        for entry in VERBS {
            assert!(
                page.contains(&format!("\\fB{}", entry.name())),
                "{}",
                entry.name()
            );
        }
        assert!(page.contains("\\fB\\-n\\fR, \\fB\\-\\-name\\fR \\fIname\\fR"));
        assert!(page.contains("$ pm2 start app.js \\-\\-name api"));
        assert!(page.contains("\\-\\-unhandled\\-rejections=strict"));
        // Nothing but requests begins with a dot.
        for l in page.lines().filter(|l| l.starts_with('.')) {
            let request = l.split(' ').next().unwrap_or_default();
            assert!(
                [".TH", ".SH", ".TP", ".B", ".I", ".RS", ".RE", ".EX", ".EE"].contains(&request),
                "{l}"
            );
        }
    }
}
