//! Slows down whoever guesses passwords.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;

/// Failures of one name from one address that are free within the window.
const FREE: u32 = 8;
/// Failures of one name from everywhere, and of one address with every name: somebody elsewhere who guesses should not shut
/// out the one whose name it is, and one address may stand for a whole office behind NAT.
const FREE_ALONE: u32 = FREE * 8;
/// How long a failure counts, ms.
const WINDOW_MS: i64 = 60_000;
/// Names and addresses remembered; beyond that the oldest windows are forgotten first.
const MAX_KEYS: usize = 10_000;

/// Counts failed logins by account name, by address, and by both together.
#[derive(Debug, Default)]
pub struct LoginLimit(Mutex<HashMap<Key, Window>>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Both(String, Option<IpAddr>),
    Login(String),
    Address(IpAddr),
}

impl Key {
    fn free(&self) -> u32 {
        match self {
            Self::Both(..) => FREE,
            Self::Login(_) | Self::Address(_) => FREE_ALONE,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Window {
    since_ms: i64,
    failures: u32,
}

impl LoginLimit {
    /// Milliseconds to wait before this login may be tried, when there were too many failures.
    pub fn wait_ms(&self, login: &str, address: Option<IpAddr>, now_ms: i64) -> Option<i64> {
        let windows = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        keys(login, address)
            .filter_map(|key| {
                let window = windows.get(&key)?;
                let left = window.since_ms + WINDOW_MS - now_ms;
                (window.failures >= key.free() && left > 0).then_some(left)
            })
            .max()
    }

    /// Notes a failure.
    pub fn failed(&self, login: &str, address: Option<IpAddr>, now_ms: i64) {
        let mut windows = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for key in keys(login, address) {
            if windows.len() >= MAX_KEYS && !windows.contains_key(&key) {
                windows.retain(|_, window| window.since_ms + WINDOW_MS > now_ms);
                if windows.len() >= MAX_KEYS
                    && let Some(oldest) = windows
                        .iter()
                        .min_by_key(|(_, w)| w.since_ms)
                        .map(|(k, _)| k.clone())
                {
                    windows.remove(&oldest);
                }
            }
            let window = windows.entry(key).or_insert(Window {
                since_ms: now_ms,
                failures: 0,
            });
            if window.since_ms + WINDOW_MS <= now_ms {
                *window = Window {
                    since_ms: now_ms,
                    failures: 0,
                };
            }
            window.failures = window.failures.saturating_add(1);
        }
    }

    /// Forgets the failures of an account name from an address after a success; those of the address, and of the name from
    /// elsewhere, stay.
    pub fn succeeded(&self, login: &str, address: Option<IpAddr>) {
        let mut windows = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        windows.remove(&Key::Both(named(login), address));
    }
}

fn named(login: &str) -> String {
    login.chars().take(200).collect::<String>().to_lowercase()
}

fn keys(login: &str, address: Option<IpAddr>) -> impl Iterator<Item = Key> {
    let login = named(login);
    [Key::Both(login.clone(), address), Key::Login(login)]
        .into_iter()
        .chain(address.map(Key::Address))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    #[test]
    fn a_name_is_shut_after_too_many_failures_and_opens_again() {
        let limit = LoginLimit::default();
        for _ in 0..FREE {
            assert_eq!(limit.wait_ms("ann", HERE, 0), None);
            limit.failed("Ann", HERE, 0);
        }
        assert_eq!(limit.wait_ms("ann", HERE, 10), Some(WINDOW_MS - 10));
        assert_eq!(
            limit.wait_ms("bob", HERE, 10),
            None,
            "one name does not shut out the next"
        );
        assert_eq!(limit.wait_ms("ann", HERE, WINDOW_MS), None);
        limit.succeeded("ANN", HERE);
        assert_eq!(limit.wait_ms("ann", HERE, 10), None);
    }

    #[test]
    fn who_guesses_elsewhere_does_not_shut_out_whose_name_it_is() {
        let limit = LoginLimit::default();
        let address = |n: u32| Some(IpAddr::V4(std::net::Ipv4Addr::from(n)));
        for _ in 0..FREE {
            limit.failed("ann", address(1), 0);
        }
        assert!(limit.wait_ms("ann", address(1), 1).is_some());
        assert_eq!(limit.wait_ms("ann", HERE, 1), None);
        // Many places that guess one name are one guesser.
        for n in 0..FREE_ALONE {
            limit.failed("ann", address(n), 0);
        }
        assert!(limit.wait_ms("ann", HERE, 1).is_some());
    }

    #[test]
    fn an_address_that_tries_many_names_is_shut() {
        let limit = LoginLimit::default();
        for n in 0..FREE_ALONE {
            limit.failed(&format!("name{n}"), HERE, 0);
        }
        assert!(limit.wait_ms("somebody", HERE, 1).is_some());
        assert!(limit.wait_ms("somebody", None, 1).is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let limit = LoginLimit::default();
        for n in 0..MAX_KEYS as i64 + 100 {
            limit.failed(&format!("name{n}"), None, n);
        }
        assert!(limit.0.lock().unwrap().len() <= MAX_KEYS);
    }
}
