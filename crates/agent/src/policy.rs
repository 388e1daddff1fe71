//! Which remote actions this host allows. The file is the host's; nothing that comes from the hub can change it.
//!
//! ```toml
//! # $PM2_HOME/policy.toml
//! allow = ["restart", "reload", "logs", "custom", "pull", "install"]
//! # only these actions of apps; leave out for all of them
//! custom = ["clear cache"]
//! # only these modules, for `install` and `uninstall`; leave out for all of them
//! modules = ["pm2-logrotate"]
//! ```
//!
//! Without the file the defaults hold: what can be undone from the dashboard is allowed. What brings other code onto the host (`pull`,
//! `backward`, `forward`, `install`) or takes something away (`delete`, `uninstall`) is not. A file that cannot be understood allows
//! nothing: a typing error must not open what its author meant to close.

use crate::{identity, redact};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use wire::action::{Action, ActionError, ActionErrorCode, Verb};

/// Name of the file in `$PM2_HOME`.
pub const FILE: &str = "policy.toml";
const MAX_BYTES: u64 = 64 << 10;

/// What is allowed when the host says nothing. What its users hid from the hub stays hidden: `monitor` is not among it.
pub const DEFAULT_ALLOW: &[Verb] = &[
    Verb::Restart,
    Verb::Reload,
    Verb::Stop,
    Verb::Start,
    Verb::Scale,
    Verb::Reset,
    Verb::Custom,
    Verb::Logs,
    Verb::Ping,
    Verb::Unmonitor,
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    allow: Option<Vec<String>>,
    custom: Option<Vec<String>>,
    modules: Option<Vec<String>>,
}

/// What the host allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    allow: Vec<Verb>,
    custom: Option<Vec<String>>,
    modules: Option<Vec<String>>,
    /// Why nothing is allowed, if the file is not understood.
    broken: Option<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            allow: DEFAULT_ALLOW.to_vec(),
            custom: None,
            modules: None,
            broken: None,
        }
    }
}

impl Policy {
    /// Understands the text of a file.
    pub fn parse(text: &str) -> Self {
        let file: File = match toml::from_str(text) {
            Ok(file) => file,
            Err(e) => return Self::nothing(e.message().to_owned()),
        };
        let allow = match file.allow {
            None => DEFAULT_ALLOW.to_vec(),
            Some(words) => {
                let verbs: Result<Vec<_>, _> = words
                    .iter()
                    .map(|word| Verb::from_name(word).ok_or_else(|| unknown(word)))
                    .collect();
                match verbs {
                    Ok(verbs) => verbs,
                    Err(why) => return Self::nothing(why),
                }
            }
        };
        Self {
            allow,
            custom: file.custom,
            modules: file.modules,
            broken: None,
        }
    }

    fn nothing(why: String) -> Self {
        Self {
            allow: Vec::new(),
            custom: None,
            modules: None,
            broken: Some(why),
        }
    }

    /// The verbs that are allowed; the hub is told, to grey out the others.
    pub fn allowed(&self) -> &[Verb] {
        &self.allow
    }

    /// Why nothing is allowed, if the file is not understood.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Whether an action may be done; the refusal says what the host's owner can do about it.
    pub fn check(&self, action: &Action) -> Result<(), ActionError> {
        let verb = action.verb();
        if let Verb::Unknown(n) = verb {
            let message = format!("this agent does not know action number {n}; update it");
            return Err(ActionError {
                code: ActionErrorCode::Unsupported,
                message,
            });
        }
        self.check_verb(verb)?;
        let (what, name, list, names) = match action {
            Action::Custom(custom) => ("action", custom.name.as_str(), "custom", &self.custom),
            Action::Install(module) | Action::Uninstall(module) => {
                ("module", module.without_version(), "modules", &self.modules)
            }
            _ => return Ok(()),
        };
        match names {
            Some(names) if !names.iter().any(|known| known == name) => {
                let name = redact::clip(name, 64);
                Err(denied(format!(
                    "{what} `{name}` is not allowed on this host: add it to `{list}` in {FILE} there"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Whether a verb may be used at all.
    pub fn check_verb(&self, verb: Verb) -> Result<(), ActionError> {
        if let Some(why) = &self.broken {
            return Err(denied(format!(
                "{FILE} on this host is not understood, so nothing is allowed: {why}"
            )));
        }
        if self.allow.contains(&verb) {
            return Ok(());
        }
        Err(denied(format!(
            "`{verb}` is not allowed on this host: add it to `allow` in {FILE} there"
        )))
    }
}

fn denied(message: String) -> ActionError {
    ActionError {
        code: ActionErrorCode::Denied,
        message,
    }
}

fn unknown(word: &str) -> String {
    let known: Vec<_> = Verb::ALL.iter().map(|v| v.as_str()).collect();
    format!("`{word}` is no action; known are {}", known.join(", "))
}

/// The policy of a home, read again when its file changes.
#[derive(Debug)]
pub struct PolicyFile {
    path: PathBuf,
    seen: Option<(SystemTime, u64)>,
    policy: Policy,
}

impl PolicyFile {
    /// Reads the policy of a home.
    pub fn open(home: &Path) -> Self {
        let mut file = Self {
            path: home.join(FILE),
            seen: None,
            policy: Policy::default(),
        };
        file.current();
        file
    }

    /// The policy as it stands on disk now.
    pub fn current(&mut self) -> &Policy {
        let stamp = match std::fs::metadata(&self.path) {
            Ok(meta) => meta.modified().ok().map(|t| (t, meta.len())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                (self.seen, self.policy) = (None, Policy::default());
                return &self.policy;
            }
            Err(e) => {
                (self.seen, self.policy) = (None, Policy::nothing(e.to_string()));
                return &self.policy;
            }
        };
        if stamp.is_none() || stamp != self.seen {
            self.seen = stamp;
            self.policy = match identity::read_small(&self.path, MAX_BYTES) {
                Ok(Some(text)) => Policy::parse(&text),
                Ok(None) => Policy::default(),
                Err(e) => Policy::nothing(format!("{e}: {}", e.source)),
            };
        }
        &self.policy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::action::{Custom, Module, Target};

    fn app() -> Target {
        Target::App("api".into())
    }

    fn custom(name: &str) -> Action {
        Action::Custom(Custom {
            target: app(),
            name: name.into(),
            opts: String::new(),
            uuid: String::new(),
        })
    }

    #[test]
    fn by_default_what_can_be_undone_is_allowed_and_the_rest_is_not() {
        let policy = Policy::default();
        for action in [
            Action::Restart(app()),
            Action::Stop(app()),
            custom("x"),
            Action::Ping,
        ] {
            assert_eq!(policy.check(&action), Ok(()));
        }
        let module = Module { name: "m".into() };
        for action in [
            Action::Delete(app()),
            Action::Pull(app()),
            Action::Backward(app()),
            Action::Forward(app()),
            Action::Monitor(app()),
            Action::Install(module.clone()),
            Action::Uninstall(module),
        ] {
            let refusal = policy.check(&action).unwrap_err();
            assert_eq!(refusal.code, ActionErrorCode::Denied);
            assert!(refusal.message.contains("policy.toml"), "{}", refusal.message);
        }
    }

    #[test]
    fn an_unknown_action_is_unsupported_not_denied() {
        assert_eq!(
            Policy::default().check(&Action::Unknown(77)).unwrap_err().code,
            ActionErrorCode::Unsupported
        );
    }

    #[test]
    fn the_file_opens_and_closes() {
        let policy = Policy::parse("allow = [\"delete\", \"custom\"]\ncustom = [\"clear cache\"]");
        assert_eq!(policy.check(&Action::Delete(app())), Ok(()));
        assert!(policy.check(&Action::Restart(app())).is_err());
        assert_eq!(policy.check(&custom("clear cache")), Ok(()));
        assert!(policy.check(&custom("km:heapdump")).is_err());
        assert!(policy.check_verb(Verb::Logs).is_err());
    }

    #[test]
    fn a_list_of_modules_narrows_what_may_be_installed() {
        let policy = Policy::parse("allow = [\"install\"]\nmodules = [\"pm2-logrotate\", \"owner/mod\"]");
        let install = |name: &str| policy.check(&Action::Install(Module { name: name.into() }));
        for name in ["pm2-logrotate", "pm2-logrotate@3.0.0", "owner/mod#main"] {
            assert_eq!(install(name), Ok(()), "{name}");
        }
        for name in ["pm2-logrotat", "evil", "evil@pm2-logrotate", "owner/other"] {
            let refusal = install(name).unwrap_err();
            assert!(refusal.message.contains("`modules`"), "{}", refusal.message);
        }
    }

    #[test]
    fn a_file_that_is_not_understood_allows_nothing_and_says_why() {
        for (text, why) in [
            ("allow = [\"restrat\"]", "`restrat` is no action"),
            ("alow = [\"restart\"]", "alow"),
            ("allow = ", "policy.toml on this host"),
        ] {
            let refusal = Policy::parse(text).check(&Action::Restart(app())).unwrap_err();
            assert!(refusal.message.contains(why), "{}", refusal.message);
        }
    }

    #[test]
    fn a_change_of_the_file_counts_at_once() {
        let home = tempfile::tempdir().unwrap();
        let mut file = PolicyFile::open(home.path());
        assert_eq!(file.current().check(&Action::Restart(app())), Ok(()));
        std::fs::write(home.path().join(FILE), "allow = []").unwrap();
        assert!(file.current().check(&Action::Restart(app())).is_err());
        std::fs::write(home.path().join(FILE), "allow = [\"restart\"]").unwrap();
        assert_eq!(file.current().check(&Action::Restart(app())), Ok(()));
        std::fs::remove_file(home.path().join(FILE)).unwrap();
        assert_eq!(file.current(), &Policy::default());
    }
}
