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
    let template = match shell {
        "zsh" => include_str!("completion.zsh"),
        "fish" => include_str!("completion.fish"),
        _ => include_str!("completion.bash"),
    };
    template
        .replace("NAME", &program.replace('-', "_"))
        .replace("PROGRAM", program)
}

/// The words of a line as a shell reads them, as far as it is typed; the last one is what the cursor stands behind.
pub(crate) fn typed_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    let mut chars = line.trim_start().chars();
    while let Some(c) = chars.next() {
        let blank = c.is_whitespace() && quote.is_none();
        if blank && words.last().is_some_and(String::is_empty) {
            continue;
        }
        if blank {
            words.push(String::new());
        } else if quote == Some(c) {
            quote = None;
        } else if quote.is_none() && matches!(c, '"' | '\'') {
            quote = Some(c);
        } else if let Some(word) = words.last_mut() {
            let kept = if c == '\\' && quote != Some('\'') {
                chars.next()
            } else {
                Some(c)
            };
            word.extend(kept);
        }
    }
    words
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

    #[test]
    fn a_line_is_read_as_the_shell_reads_it() {
        for (line, words) in [
            ("pm2 ", &["pm2", ""][..]),
            ("pm2  stop a", &["pm2", "stop", "a"]),
            (r"pm2 stop my\ ap", &["pm2", "stop", "my ap"]),
            (r#"pm2 stop "my a"#, &["pm2", "stop", "my a"]),
            (r"pm2 stop 'a\b' mod:x", &["pm2", "stop", r"a\b", "mod:x"]),
            ("", &[""]),
        ] {
            assert_eq!(typed_words(line), words, "{line}");
        }
    }
}
