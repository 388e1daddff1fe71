//! `completion`: a snippet for the shell, and the candidates it asks for.

use super::Then;
use crate::args::{candidates, snippet};
use crate::client::Client;
use crate::context::{Context, var};
use crate::failure::Failure;
use std::path::PathBuf;

const BEGIN: &str = "###-begin-completion-###";
const END: &str = "###-end-completion-###";

pub(crate) fn completion(context: &Context<'_>) -> Result<Then, Failure> {
    let console = context.console;
    if let Some(at) = var("COMP_CWORD").and_then(|n| n.parse::<usize>().ok()) {
        let words = &context.typed.rest;
        let partial = words.get(at).cloned().unwrap_or_default();
        let before = &words[..at.min(words.len())];
        for candidate in candidates(before, &partial, || apps(context)) {
            console.put(format_args!("{candidate}\n"));
        }
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
            let text = without_snippet(&std::fs::read_to_string(&path).unwrap_or_default());
            let text = format!("{text}\n{BEGIN}\n{}{END}\n", snippet(shell, context.program));
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
            std::fs::write(&path, without_snippet(&text)).map_err(Failure::file("writing", &path))?;
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

fn without_snippet(text: &str) -> String {
    match (text.find(BEGIN), text.find(END)) {
        (Some(begin), Some(end)) if begin < end => {
            let rest = text[end + END.len()..].trim_start_matches('\n');
            format!("{}\n{rest}", text[..begin].trim_end_matches('\n'))
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_is_replaced_not_piled_up() {
        let text = format!("alias a=b\n\n{BEGIN}\nold\n{END}\nexport X=1\n");
        assert_eq!(without_snippet(&text), "alias a=b\nexport X=1\n");
        assert_eq!(without_snippet("alias a=b\n"), "alias a=b\n");
    }
}
