//! What a target on the command line means: an id, a name, a namespace, `all`, or a pattern.

use crate::process::Process;
use regex::Regex;
use thiserror::Error;

/// A target that means nothing.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum TargetError {
    #[error("No process found")]
    Empty,
    #[error("Process or Namespace {0} not found{1}")]
    NotFound(String, Hint),
    #[error("pattern {pattern} can't be read: {reason}")]
    Pattern { pattern: String, reason: String },
}

/// A name that may have been meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hint(Option<String>);

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(name) => write!(f, "; did you mean {name}?"),
            None => Ok(()),
        }
    }
}

/// The ids of a target, ascending. A number that names no process is given back as it is: the daemon's error text is what
/// users know. `script` is the absolute path that the target would be as a file.
pub(crate) fn resolve(list: &[Process], target: &str, script: &str) -> Result<Vec<u32>, TargetError> {
    let ids = |test: &dyn Fn(&Process) -> bool| -> Vec<u32> {
        let mut ids: Vec<u32> = list.iter().filter(|p| test(p)).map(|p| p.pm_id).collect();
        ids.sort_unstable();
        ids
    };
    if target == "all" {
        let found = ids(&|p| !p.is_module());
        return if found.is_empty() {
            Err(TargetError::Empty)
        } else {
            Ok(found)
        };
    }
    if let Some(pattern) = pattern(target) {
        let regex = pattern?;
        let found = ids(&|p| regex.is_match(&p.name));
        return if found.is_empty() {
            Err(TargetError::Empty)
        } else {
            Ok(found)
        };
    }
    let numeric = number(target);
    let named = ids(&|p| p.name == target || (numeric.is_none() && p.env.exec_path() == script));
    if !named.is_empty() {
        return Ok(named);
    }
    let spaced = ids(&|p| p.env.namespace() == target && !p.is_module());
    if !spaced.is_empty() {
        return Ok(spaced);
    }
    match numeric {
        Some(id) => Ok(vec![id]),
        None => {
            let names = list.iter().map(|p| p.name.as_str());
            let near = crate::args::nearest(target, names).map(str::to_owned);
            Err(TargetError::NotFound(target.to_owned(), Hint(near)))
        }
    }
}

/// `/…/` as a regular expression on names. All slashes are removed, as PM2 does.
pub(crate) fn pattern(target: &str) -> Option<Result<Regex, TargetError>> {
    if target.len() < 3 || !target.starts_with('/') || !target.ends_with('/') {
        return None;
    }
    let text = target.replace('/', "");
    let built = regex::RegexBuilder::new(&text).size_limit(1 << 20).build();
    Some(built.map_err(|e| TargetError::Pattern {
        pattern: target.to_owned(),
        reason: e.to_string(),
    }))
}

/// An id.
pub(crate) fn number(target: &str) -> Option<u32> {
    (!target.is_empty() && target.bytes().all(|b| b.is_ascii_digit())).then(|| target.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::sample;
    use serde_json::json;

    fn list() -> Vec<Process> {
        vec![
            sample(
                0,
                "api",
                json!({ "namespace": "web", "pm_exec_path": "/srv/api.js" }),
            ),
            sample(1, "api", json!({ "namespace": "web" })),
            sample(2, "worker", json!({})),
            sample(3, "7", json!({})),
            sample(4, "pm2-logrotate", json!({ "pmx_module": true })),
        ]
    }

    fn check(target: &str, expected: &[u32]) {
        assert_eq!(
            resolve(&list(), target, &format!("/srv/{target}")).unwrap(),
            expected,
            "{target}"
        );
    }

    #[test]
    fn targets() {
        check("api", &[0, 1]);
        check("web", &[0, 1]);
        check("default", &[2, 3]);
        check("all", &[0, 1, 2, 3]);
        check("/^a/", &[0, 1]);
        check("2", &[2]);
        check("7", &[3]);
        check("99", &[99]);
        check("pm2-logrotate", &[4]);
        check("api.js", &[0]);
    }

    #[test]
    fn mistakes() {
        let text = |target: &str| resolve(&list(), target, "/x").unwrap_err().to_string();
        assert_eq!(text("nope"), "Process or Namespace nope not found");
        assert_eq!(
            text("wroker"),
            "Process or Namespace wroker not found; did you mean worker?"
        );
        assert_eq!(text("/zzz/"), "No process found");
        assert!(text("/[/").starts_with("pattern /[/ can't be read"));
        assert_eq!(resolve(&[], "all", "/x"), Err(TargetError::Empty));
    }
}
