//! Separate ports for data and commands: what the host says of them, what the hub says, and which one the next connection
//! takes. Pure.
//!
//! One port is enough, and it is what a link takes unless it is told otherwise: by its user, or by a hub that is set up with
//! further ones. Where the port for data lets nothing through, everything goes by the first port again.

use crate::config::{AddressError, normal_root};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Root addresses of the two ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// For data.
    pub push: String,
    /// For commands.
    pub reverse: String,
}

/// Whose word on the ports counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetBy {
    /// What the hub says is followed.
    #[default]
    Hub,
    /// What the user of this host said stays.
    Host,
}

/// The ports of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortSettings {
    /// `None`: everything goes by the hub's first port.
    pub separate: Option<Ports>,
    /// Whose word it is.
    pub set_by: SetBy,
}

/// The same as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPorts {
    /// Root address of the port for data; empty if there is but one port.
    #[serde(default)]
    pub push: String,
    /// Root address of the port for commands; empty if there is but one port.
    #[serde(default)]
    pub reverse: String,
    /// Whose word it is.
    #[serde(default)]
    pub set_by: SetBy,
}

/// Ports that cannot be.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PortsError {
    /// One without the other.
    #[error("{0} is set and {1} is not: give both addresses, or `none` for one port")]
    OneAlone(&'static str, &'static str),
    /// An address that cannot be one.
    #[error("{0}: {1}")]
    Address(&'static str, AddressError),
}

/// The variable with the address of the port for data.
pub const PUSH_VARIABLE: &str = "PM2_PUSH_URL";
/// The variable with the address of the port for commands.
pub const REVERSE_VARIABLE: &str = "PM2_REVERSE_URL";

impl PortSettings {
    /// What an environment says; `None` if it says nothing.
    pub fn from_environment(env: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, PortsError> {
        let said = |name| env(name).filter(|text: &String| !text.trim().is_empty());
        let host = |separate| {
            Ok(Some(Self {
                separate,
                set_by: SetBy::Host,
            }))
        };
        match (said(PUSH_VARIABLE), said(REVERSE_VARIABLE)) {
            (None, None) => Ok(None),
            (Some(one), None) | (None, Some(one)) | (Some(one), Some(_)) if one == "none" => host(None),
            (Some(_), Some(other)) if other == "none" => host(None),
            (Some(push), Some(reverse)) => host(Some(Ports {
                push: normal_root(&push).map_err(|e| PortsError::Address(PUSH_VARIABLE, e))?,
                reverse: normal_root(&reverse).map_err(|e| PortsError::Address(REVERSE_VARIABLE, e))?,
            })),
            (Some(_), None) => Err(PortsError::OneAlone(PUSH_VARIABLE, REVERSE_VARIABLE)),
            (None, Some(_)) => Err(PortsError::OneAlone(REVERSE_VARIABLE, PUSH_VARIABLE)),
        }
    }

    /// What was stored. What the hub of another root said is forgotten, and so is what makes no sense any more.
    pub fn from_stored(stored: Option<&StoredPorts>, same_root: bool) -> Self {
        let Some(stored) = stored.filter(|stored| same_root || stored.set_by == SetBy::Host) else {
            return Self::default();
        };
        let ports = match (normal_root(&stored.push), normal_root(&stored.reverse)) {
            (Ok(push), Ok(reverse)) if !stored.push.is_empty() && !stored.reverse.is_empty() => {
                Some(Ports { push, reverse })
            }
            _ => None,
        };
        Self {
            separate: ports,
            set_by: stored.set_by,
        }
    }

    /// What is to be stored; `None` for what everybody has.
    pub fn to_stored(&self) -> Option<StoredPorts> {
        let text = |get: fn(&Ports) -> &String| self.separate.as_ref().map(get).cloned().unwrap_or_default();
        (*self != Self::default()).then(|| StoredPorts {
            push: text(|ports| &ports.push),
            reverse: text(|ports| &ports.reverse),
            set_by: self.set_by,
        })
    }

    /// Takes the word of the hub that is linked at `root`, empty texts if it has but one port; says whether it changes
    /// anything. Addresses in the clear are not taken from a hub that is reached by TLS: keys would be sent there.
    pub fn told(&mut self, root: &str, push: &str, reverse: &str) -> Result<bool, String> {
        if self.set_by == SetBy::Host {
            return Ok(false);
        }
        let separate = if push.is_empty() || reverse.is_empty() {
            None
        } else {
            let taken = |url: &str| match normal_root(url) {
                Ok(url) if is_sealed(root) && !is_sealed(&url) => {
                    Err(format!("{url} is in the clear, and the hub is reached by TLS"))
                }
                Ok(url) => Ok(url),
                Err(error) => Err(error.to_string()),
            };
            Some(Ports {
                push: taken(push)?,
                reverse: taken(reverse)?,
            })
        };
        let changed = separate != self.separate;
        self.separate = separate;
        Ok(changed)
    }
}

fn is_sealed(url: &str) -> bool {
    let scheme = url.split("://").next().unwrap_or_default();
    scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss")
}

/// The way that a connection takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// By the hub's first port: everything.
    #[default]
    Main,
    /// By the port for data.
    Push,
}

/// Which way the next connection takes.
#[derive(Clone, Debug, Default)]
pub struct Ways {
    separate: bool,
    /// The way that is taken, or was last.
    now: Way,
    /// It carried a link.
    held: bool,
    /// Why the last try of each way failed.
    failures: [Option<String>; 2],
}

impl Ways {
    /// Two ways, or one.
    pub fn new(separate: bool) -> Self {
        Self {
            separate,
            ..Self::default()
        }
    }

    /// Begins a try, and says by which way: the port for data first, and then by turns.
    pub fn begin(&mut self) -> Way {
        self.now = match self.now {
            _ if !self.separate => Way::Main,
            Way::Push if !self.held && self.failures[1].is_some() => Way::Main,
            _ => Way::Push,
        };
        self.held = false;
        self.now
    }

    /// The way that is taken, or was last.
    pub fn now(&self) -> Way {
        self.now
    }

    /// The hub accepted.
    pub fn held(&mut self) {
        self.held = true;
        self.failures = [None, None];
    }

    /// The try failed, or what it led to ended; gives the reasons of all ways that failed since a link held.
    pub fn failed(&mut self, why: &str) -> String {
        self.failures[usize::from(self.now == Way::Push)] = Some(why.to_owned());
        let [main, push] = &self.failures;
        let both: Vec<&str> = [push, main].into_iter().flatten().map(String::as_str).collect();
        both.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(push: &'static str, reverse: &'static str) -> impl Fn(&str) -> Option<String> {
        move |name| {
            let value = if name == PUSH_VARIABLE { push } else { reverse };
            (!value.is_empty()).then(|| value.to_owned())
        }
    }

    fn ports(push: &str, reverse: &str) -> Option<Ports> {
        Some(Ports {
            push: push.into(),
            reverse: reverse.into(),
        })
    }

    #[test]
    fn the_host_names_both_or_none() {
        let said = |push, reverse| PortSettings::from_environment(env(push, reverse));
        assert_eq!(said("", ""), Ok(None));
        let given = said("http://hub:80/", "http://hub:43554").unwrap().unwrap();
        assert_eq!(
            (given.separate, given.set_by),
            (ports("http://hub:80", "http://hub:43554"), SetBy::Host)
        );
        for (push, reverse) in [("none", ""), ("", "none"), ("none", "none"), ("http://h", "none")] {
            let forced = said(push, reverse).unwrap().unwrap();
            assert_eq!((forced.separate, forced.set_by), (None, SetBy::Host));
        }
        assert_eq!(
            said("http://hub:80", "").unwrap_err().to_string(),
            "PM2_PUSH_URL is set and PM2_REVERSE_URL is not: give both addresses, or `none` for one port"
        );
        let wrong = said("http://hub:80", "ftp://hub").unwrap_err().to_string();
        assert!(
            wrong.starts_with("PM2_REVERSE_URL: hub address `ftp://hub` is not understood"),
            "{wrong}"
        );
    }

    #[test]
    fn the_hubs_word_counts_unless_the_host_has_spoken() {
        let mut link = PortSettings::default();
        assert_eq!(link.told("http://hub", "", ""), Ok(false));
        assert_eq!(
            link.told("http://hub", "http://hub:80", "http://hub:43554"),
            Ok(true)
        );
        assert_eq!(
            link.told("http://hub", "http://hub:80", "http://hub:43554"),
            Ok(false)
        );
        let stored = link.to_stored();
        assert_eq!(PortSettings::from_stored(stored.as_ref(), true), link);
        assert_eq!(
            PortSettings::from_stored(stored.as_ref(), false),
            PortSettings::default()
        );
        assert_eq!(link.told("http://hub", "", ""), Ok(true), "one port again");
        assert_eq!(link.to_stored(), None);

        let mut host = PortSettings::from_environment(env("none", "")).unwrap().unwrap();
        assert_eq!(
            host.told("http://hub", "http://hub:80", "http://hub:43554"),
            Ok(false)
        );
        assert_eq!(PortSettings::from_stored(host.to_stored().as_ref(), false), host);
    }

    #[test]
    fn keys_are_never_sent_in_the_clear_because_a_hub_says_so() {
        let mut link = PortSettings::default();
        let refused = link
            .told("https://hub", "http://hub:80", "https://hub:43554")
            .unwrap_err();
        assert!(refused.contains("http://hub:80 is in the clear"), "{refused}");
        assert!(link.told("https://hub", "https://hub:80", "ftp://x").is_err());
        assert_eq!(link, PortSettings::default());
    }

    #[test]
    fn the_port_for_data_is_tried_first_and_then_by_turns() {
        let mut ways = Ways::new(true);
        assert_eq!(ways.begin(), Way::Push);
        assert_eq!(ways.failed("push is blocked"), "push is blocked");
        assert_eq!(ways.begin(), Way::Main);
        assert_eq!(ways.failed("main is blocked"), "push is blocked; main is blocked");
        assert_eq!(ways.begin(), Way::Push);
        assert_eq!(ways.failed("still"), "still; main is blocked");
        assert_eq!(ways.begin(), Way::Main);
        ways.held();
        assert_eq!(ways.failed("the hub went"), "the hub went");
        assert_eq!(ways.begin(), Way::Push, "the port for data may be open by now");
        ways.held();
        ways.failed("the hub went");
        assert_eq!(ways.begin(), Way::Push, "it worked before");
        let mut one = Ways::new(false);
        for _ in 0..3 {
            assert_eq!(one.begin(), Way::Main);
            one.failed("x");
        }
    }
}
