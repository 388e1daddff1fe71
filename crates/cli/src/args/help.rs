//! Help, made from the table.

use super::Verb;
use super::options::{GLOBAL, Opt, Takes};
use super::table::{Entry, VERBS};
use std::fmt::Write as _;

/// The short text for a call without arguments or with an unknown verb.
pub(crate) fn usage(program: &str) -> String {
    format!(
        "usage: {program} [options] <command>\n\n\
         {program} -h, --help             all commands and options\n\
         {program} <command> -h           help on one command\n\n\
         {program} start app.js           start an app\n\
         {program} ls                     list all processes\n"
    )
}

/// Everything.
pub(crate) fn program_help(program: &str) -> String {
    let mut out = header(program);
    let _ = write!(out, "\n  Usage: {program} [options] <command>\n\n  Commands:\n\n");
    let rows: Vec<(String, &str)> = VERBS.iter().map(|entry| (call(entry), entry.help)).collect();
    columns(&mut out, &rows);
    out.push_str("\n  Options:\n\n");
    columns(&mut out, &options(GLOBAL));
    out
}

/// One verb.
pub(crate) fn command_help(program: &str, verb: Verb) -> String {
    let mut out = String::new();
    if let Some(entry) = VERBS.iter().find(|entry| entry.verb == verb) {
        // Called as pm2-runtime, the verb is not typed, and there is no other help.
        let implied = crate::verb_of(program).is_some_and(|name| entry.names.contains(&name));
        let typed = if implied {
            entry.operands.to_owned()
        } else {
            call(entry)
        };
        let _ = write!(out, "\n  Usage: {program} {typed}\n\n  {}\n", entry.help);
        if !entry.options.is_empty() {
            out.push_str("\n  Options:\n\n");
            columns(&mut out, &options(entry.options));
        }
        let examples = super::examples::of(verb);
        if !examples.is_empty() {
            out.push_str("\n  Examples:\n\n");
            for example in examples {
                let _ = writeln!(out, "    $ {program} {example}");
            }
        }
        if implied {
            out.push_str("\n  Options of apps and of all commands:\n\n");
            columns(&mut out, &options(GLOBAL));
        } else {
            let _ = write!(out, "\n  Options of all commands: {program} -h\n");
        }
    }
    out
}

fn header(program: &str) -> String {
    match program {
        "pm2" => String::new(),
        _ => format!(
            "\n  Pilothouse {}: keeps programs running, and shows how they are. Speaks PM2 {}.\n",
            env!("CARGO_PKG_VERSION"),
            pm2::COMPAT_VERSION
        ),
    }
}

fn call(entry: &Entry) -> String {
    format!("{} {}", entry.names.join("|"), entry.operands)
        .trim_end()
        .to_owned()
}

fn options(list: &[Opt]) -> Vec<(String, &str)> {
    list.iter()
        .map(|option| {
            let short = option
                .short
                .map_or("    ".to_owned(), |letter| format!("-{letter}, "));
            let value = match option.takes {
                Takes::Nothing => String::new(),
                Takes::Value(name) => format!(" <{name}>"),
                Takes::Maybe(name) => format!(" [{name}]"),
            };
            (format!("{short}--{}{value}", option.long), option.help)
        })
        .collect()
}

fn columns(out: &mut String, rows: &[(String, &str)]) {
    let widest = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0).min(46);
    for (left, right) in rows {
        let _ = writeln!(out, "    {left:<widest$}  {right}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_and_option_has_help_and_no_name_is_given_twice() {
        let mut names: Vec<&str> = VERBS.iter().flat_map(|entry| entry.names).copied().collect();
        let help = program_help("pm2");
        for entry in VERBS {
            assert!(help.contains(entry.help), "{}", entry.name());
            assert!(command_help("pm2", entry.verb).contains(entry.operands));
        }
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
        for entry in VERBS {
            let mut shorts: Vec<char> = GLOBAL
                .iter()
                .chain(entry.options)
                .filter_map(|o| o.short)
                .collect();
            let mut longs: Vec<&str> = GLOBAL.iter().chain(entry.options).map(|o| o.long).collect();
            let count = (shorts.len(), longs.len());
            shorts.sort_unstable();
            longs.sort_unstable();
            shorts.dedup();
            longs.dedup();
            assert_eq!((shorts.len(), longs.len()), count, "{}", entry.name());
        }
        let runtime = command_help("pm2-runtime", Verb::Runtime);
        assert!(
            runtime.contains("Usage: pm2-runtime [start]") && runtime.contains("--instances"),
            "{runtime}"
        );
        assert!(command_help("pm2", Verb::Runtime).contains("Usage: pm2 runtime [start]"));
        assert!(!help.contains("Pilothouse") && program_help("ph").contains("Pilothouse"));
    }
}
