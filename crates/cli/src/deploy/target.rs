//! An environment of a file's `deploy` section, and how its hosts are reached. Pure.

use pm2::{Object, js};
use serde_json::Value;

/// Where to deploy what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) hosts: Vec<String>,
    pub(super) repo: String,
    /// On the host.
    pub(super) path: String,
    /// A branch, with or without its remote, a tag or a commit.
    pub(super) reference: String,
    /// Only the last commits are fetched.
    pub(super) fast: bool,
    /// Exported before the last hook, in upper case.
    pub(super) env: Vec<(String, String)>,
    hooks: Vec<(&'static str, String)>,
    ssh: Vec<String>,
    user: Option<String>,
}

const HOOKS: [&str; 5] = [
    "pre-setup",
    "post-setup",
    "pre-deploy-local",
    "pre-deploy",
    "post-deploy",
];

impl Target {
    /// Reads an environment.
    ///
    /// # Errors
    /// The name of a property that is missing, or what is wrong with one.
    pub(super) fn read(section: &Object) -> Result<Target, String> {
        let text = |key: &str| {
            section
                .get(key)
                .filter(|v| !v.is_null())
                .map(js::to_text)
                .filter(|t| !t.is_empty())
        };
        let wanted = |key: &str| text(key).ok_or_else(|| format!("Missing required property: {key}"));
        let list = |key: &str| match section.get(key) {
            Some(Value::Array(items)) => items.iter().map(js::to_text).collect(),
            Some(Value::Null) | None => Vec::new(),
            Some(one) => vec![js::to_text(one)],
        };
        let hosts: Vec<String> = list("host");
        if hosts.is_empty() {
            return Err("Missing required property: host".into());
        }
        // ssh would take it for an option.
        if let Some(bad) = hosts.iter().find(|host| host.is_empty() || host.starts_with('-')) {
            return Err(format!("{bad:?} can be no host"));
        }
        let user = text("user");
        if user.as_ref().is_some_and(|user| user.starts_with('-')) {
            return Err("a user can't begin with a dash".into());
        }
        let on = |key: &str| text(key).is_some_and(|value| !matches!(value.as_str(), "no" | "false"));
        let mut ssh = Vec::new();
        for option in list("ssh_options") {
            ssh.extend(["-o".to_owned(), option]);
        }
        for (key, flag) in [("port", "-p"), ("key", "-i")] {
            if let Some(value) = text(key) {
                ssh.extend([flag.to_owned(), value]);
            }
        }
        for (key, flag) in [("forward-agent", "-A"), ("needs_tty", "-t")] {
            if on(key) {
                ssh.push(flag.to_owned());
            }
        }
        let env = match section.get("env") {
            Some(Value::Object(env)) => env
                .iter()
                .filter(|(name, _)| is_variable(name))
                .map(|(name, value)| (name.to_uppercase(), js::to_text(value)))
                .collect(),
            _ => Vec::new(),
        };
        Ok(Target {
            hosts,
            repo: wanted("repo")?,
            path: wanted("path")?.trim_end_matches('/').to_owned(),
            reference: wanted("ref")?,
            fast: text("fetch").as_deref() == Some("fast"),
            env,
            hooks: HOOKS
                .iter()
                .filter_map(|hook| Some((*hook, text(hook)?)))
                .collect(),
            ssh,
            user,
        })
    }

    /// What is to be run at this point, if anything.
    pub(super) fn hook(&self, name: &str) -> Option<&str> {
        self.hooks
            .iter()
            .find(|(hook, _)| *hook == name)
            .map(|(_, command)| command.as_str())
    }

    /// The words behind `ssh` that reach a host.
    pub(super) fn ssh_words(&self, host: &str) -> Vec<String> {
        let place = match &self.user {
            Some(user) => format!("{user}@{host}"),
            None => host.to_owned(),
        };
        self.ssh.iter().cloned().chain([place]).collect()
    }

    /// The branch that a fresh clone begins with.
    pub(super) fn branch(&self) -> &str {
        self.reference.strip_prefix("origin/").unwrap_or(&self.reference)
    }

    /// A path below the deployment's, for the host's shell.
    pub(super) fn below(&self, rest: &str) -> String {
        shell_path(&format!("{}{rest}", self.path))
    }

    /// The line that makes a hook's surroundings: its folder, and the variables.
    pub(super) fn hook_script(&self, command: &str, with_env: bool) -> String {
        let mut script = format!(
            "cd {} && export SHARED={}",
            self.below("/current"),
            self.below("/shared")
        );
        if with_env {
            for (name, value) in &self.env {
                script.push_str(&format!(" {name}={}", quoted(value)));
            }
        }
        format!("{script} && {{ {command}\n}}")
    }
}

/// A word for a POSIX shell, as it is.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A path for a POSIX shell: `~/` and variables mean on the host what they always mean, blanks and the rest nothing.
fn shell_path(path: &str) -> String {
    let path = match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("$HOME{rest}"),
        _ => path.to_owned(),
    };
    let mut out = String::from("\"");
    for c in path.chars() {
        if matches!(c, '"' | '`' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    // A command in a path is no path.
    out.replace("$(", "\\$(")
}

fn is_variable(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(fine) && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<Target, String> {
        Target::read(value.as_object().unwrap())
    }

    #[test]
    fn an_environment() {
        let target = read(json!({
            "user": "me", "host": ["a", "b"], "port": 2222, "key": "/k", "ref": "origin/main", "repo": "r", "path": "~/my app/",
            "ssh_options": ["X=y", "Z=1"], "forward-agent": "yes", "fetch": "fast", "needs_tty": false,
            "env": { "a_b": "1 'x", "no-name": 1, "n": 5 }, "post-deploy": "make",
        }))
        .unwrap();
        assert_eq!(
            target.ssh_words("a").join(" "),
            "-o X=y -o Z=1 -p 2222 -i /k -A me@a"
        );
        assert_eq!((target.branch(), target.fast), ("main", true));
        assert_eq!(target.below("/source"), "\"$HOME/my app/source\"");
        assert_eq!(
            target.hook_script("make", true),
            "cd \"$HOME/my app/current\" && export SHARED=\"$HOME/my app/shared\" A_B='1 '\\''x' N='5' && { make\n}"
        );
        assert_eq!(
            (target.hook("post-deploy"), target.hook("pre-setup")),
            (Some("make"), None)
        );
    }

    #[test]
    fn what_is_missing_or_dangerous() {
        for (value, part) in [
            (json!({}), "property: host"),
            (json!({ "host": "h" }), "property: repo"),
            (json!({ "host": "h", "repo": "r" }), "property: path"),
            (json!({ "host": "h", "repo": "r", "path": "/p" }), "property: ref"),
            (json!({ "host": "-oProxyCommand=x" }), "no host"),
            (json!({ "host": "h", "user": "-x" }), "dash"),
        ] {
            let told = read(value.clone()).unwrap_err();
            assert!(told.contains(part), "{value}: {told}");
        }
        assert_eq!(shell_path("/a`b\"$(c)/$D"), "\"/a\\`b\\\"\\$(c)/$D\"");
    }
}
