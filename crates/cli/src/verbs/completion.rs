//! `completion`: a snippet for the shell, and the candidates it asks for.

use super::Then;
use crate::args::{candidates, snippet, typed_words};
use crate::client::Client;
use crate::context::{Context, var};
use crate::failure::Failure;
use std::path::PathBuf;

/// The marks of earlier releases, which did not name the program.
const NAMELESS: (&str, &str) = ("###-begin-completion-###", "###-end-completion-###");

pub(crate) fn completion(context: &Context<'_>) -> Result<Then, Failure> {
    let console = context.console;
    if let Some(line) = var("COMP_UPTO") {
        let words = typed_words(&line);
        if let Some((partial, before)) = words.split_last() {
            tell(context, before, partial);
        }
        return Ok(Then::Done);
    }
    if let Some(at) = var("COMP_CWORD").and_then(|n| n.parse::<usize>().ok()) {
        let words = &context.typed.rest;
        let partial = words.get(at).cloned().unwrap_or_default();
        let before = &words[..at.min(words.len())];
        tell(context, before, &partial);
        return Ok(Then::Done);
    }
    let login = var("SHELL").unwrap_or_default();
    let shell = match login.rsplit('/').next() {
        Some("zsh") => "zsh",
        Some("fish") => "fish",
        _ => "bash",
    };
    match context.typed.operands.first().map(String::as_str) {
        None => console.put(snippet(shell, context.program)),
        Some(shell @ ("bash" | "zsh" | "fish")) => console.put(snippet(shell, context.program)),
        Some("install") => {
            let path = start_file(shell, context.program)?;
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let text = without_snippet(&text, context.program);
            let (begin, end) = marks(context.program);
            let text = format!("{text}\n{begin}\n{}{end}\n", snippet(shell, context.program));
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(Failure::file("making the folder", folder))?;
            }
            std::fs::write(&path, text).map_err(Failure::file("writing", &path))?;
            console.info(format_args!(
                "{} tab-completion installed in {}; open a new shell to use it.",
                context.program,
                path.display()
            ));
        }
        Some("uninstall") => {
            let path = start_file(shell, context.program)?;
            let text = std::fs::read_to_string(&path).map_err(Failure::file("reading", &path))?;
            std::fs::write(&path, without_snippet(&text, context.program))
                .map_err(Failure::file("writing", &path))?;
            console.info(format_args!("{} tab-completion uninstalled.", context.program));
        }
        Some(other) => {
            return Err(Failure::Error(format!(
                "completion {other}: say install, uninstall, bash, zsh or fish"
            )));
        }
    }
    Ok(Then::Done)
}

/// Names, if a daemon runs; completion starts none and complains of nothing.
fn apps(context: &Context<'_>) -> Vec<String> {
    let list = Client::connect(&context.home)
        .ok()
        .and_then(|mut client| client.list(Some(&[])).ok());
    let mut names: Vec<String> = list.unwrap_or_default().into_iter().map(|p| p.name).collect();
    names.sort();
    names.dedup();
    names
}

/// The file that the shell reads.
fn start_file(shell: &str, program: &str) -> Result<PathBuf, Failure> {
    let home = var("HOME").ok_or_else(|| Failure::Error("HOME is not set".into()))?;
    let home = PathBuf::from(home);
    Ok(match shell {
        "fish" => home.join(format!(".config/fish/completions/{program}.fish")),
        shell => home.join(format!(".{shell}rc")),
    })
}

/// Between them stands what completion of this program needs. PM2 has the same: what it installed is replaced.
fn marks(program: &str) -> (String, String) {
    (
        format!("###-begin-{program}-completion-###"),
        format!("###-end-{program}-completion-###"),
    )
}

fn without_snippet(text: &str, program: &str) -> String {
    let (begin, end) = marks(program);
    without(&without(text, &begin, &end), NAMELESS.0, NAMELESS.1)
}

fn without(text: &str, begin: &str, end: &str) -> String {
    match (text.find(begin), text.find(end)) {
        (Some(from), Some(to)) if from < to => {
            let rest = text[to + end.len()..].trim_start_matches('\n');
            format!("{}\n{rest}", text[..from].trim_end_matches('\n'))
        }
        _ => text.to_owned(),
    }
}

/// Prints what can stand there.
fn tell(context: &Context<'_>, before: &[String], partial: &str) {
    for candidate in candidates(before, partial, || apps(context)) {
        context.console.put(format_args!("{candidate}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_is_replaced_not_piled_up() {
        for (begin, end) in [marks("pm2"), (NAMELESS.0.to_owned(), NAMELESS.1.to_owned())] {
            let text = format!("alias a=b\n\n{begin}\nold\n{end}\nexport X=1\n");
            assert_eq!(without_snippet(&text, "pm2"), "alias a=b\nexport X=1\n");
        }
        let (begin, end) = marks("ph");
        for kept in ["alias a=b\n".to_owned(), format!("{begin}\nph\n{end}\n")] {
            assert_eq!(without_snippet(&kept, "pm2"), kept);
        }
    }
}
