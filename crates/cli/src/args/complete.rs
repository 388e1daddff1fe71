//! Completion in the shell, made from the table.

use super::options::{GLOBAL, Opt};
use super::table::{Names, VERBS, find};

/// What can stand where the cursor is. `words` are the words before it, the program's name first, `partial` the one under
/// it; `apps` is asked only where names of apps can stand.
pub(crate) fn candidates(words: &[String], partial: &str, apps: impl FnOnce() -> Vec<String>) -> Vec<String> {
    let entry = words
        .iter()
        .skip(1)
        .find(|word| !word.starts_with('-'))
        .map(|word| find(word));
    let own = entry.flatten().map_or(&[][..], |entry| entry.options);
    let all = || GLOBAL.iter().chain(own);
    let mut out: Vec<String> = if partial.starts_with("--") {
        all().map(|option: &Opt| format!("--{}", option.long)).collect()
    } else if partial.starts_with('-') {
        all()
            .filter_map(|option| option.short)
            .map(|letter| format!("-{letter}"))
            .collect()
    } else {
        match entry {
            None => VERBS
                .iter()
                .flat_map(|entry| entry.names)
                .map(|name| (*name).to_owned())
                .collect(),
            Some(Some(entry)) if entry.complete == Names::Apps => apps(),
            Some(_) => Vec::new(),
        }
    };
    out.retain(|candidate| candidate.starts_with(partial));
    out
}

/// What a shell's start file must hold for completion to work.
pub(crate) fn snippet(shell: &str, program: &str) -> String {
    let name = program.replace('-', "_");
    match shell {
        "zsh" => format!(
            "_{name}_completion() {{\n  local words; words=(${{=BUFFER}})\n  reply=($({program} completion -- \"${{words[@]}}\" 2>/dev/null))\n}}\n\
             (( $+functions[compctl] )) || autoload -Uz compctl 2>/dev/null\ncompctl -K _{name}_completion -f {program}\n"
        ),
        "fish" => format!(
            "function __{name}_completion\n  set -l before (commandline -opc)\n  set -lx COMP_CWORD (count $before)\n  \
             set -lx COMP_LINE (commandline -p)\n  set -lx COMP_POINT (commandline -C)\n  \
             {program} completion -- $before (commandline -ct) 2>/dev/null\nend\n\
             complete -c {program} -a '(__{name}_completion)'\n"
        ),
        _ => format!(
            "_{name}_completion() {{\n  local cur=\"${{COMP_WORDS[COMP_CWORD]}}\"\n  COMPREPLY=($(COMP_CWORD=\"$COMP_CWORD\" COMP_LINE=\"$COMP_LINE\" \
             COMP_POINT=\"$COMP_POINT\" {program} completion -- \"${{COMP_WORDS[@]}}\" 2>/dev/null))\n  \
             [ ${{#COMPREPLY[@]}} -eq 0 ] && COMPREPLY=($(compgen -f -- \"$cur\"))\n}}\n\
             complete -o filenames -F _{name}_completion {program}\n"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str], partial: &str) -> Vec<String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        candidates(&words, partial, || vec!["api".into(), "worker".into()])
    }

    #[test]
    fn candidates_by_place() {
        assert_eq!(
            of(&["pm2"], "re"),
            [
                "restart",
                "reload",
                "reloadLogs",
                "reset",
                "report",
                "resurrect",
                "register"
            ]
        );
        assert_eq!(of(&["pm2", "stop"], ""), ["api", "worker"]);
        assert_eq!(of(&["pm2", "stop"], "w"), ["worker"]);
        assert_eq!(of(&["pm2", "logs"], "--li"), ["--listen-timeout", "--lines"]);
        assert!(of(&["pm2", "start"], "--li").contains(&"--listen-timeout".to_owned()));
        assert!(of(&["pm2", "start"], "-").contains(&"-i".to_owned()));
        assert_eq!(of(&["pm2", "ls"], ""), Vec::<String>::new());
        assert_eq!(of(&["pm2", "nonsense"], ""), Vec::<String>::new());
    }
}
