//! Servers that asked to be linked and were turned back: for want of a place, or for what they told about themselves. Pure.
//!
//! Nobody holds a place for them: an agent that was told to wait asks again by itself, and whoever asks first when a place
//! is free has it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::model::{AgentKind, MAX_TEXT, Millis, cut};

/// Who did not ask again within this time has given up: our agent asks twice a minute, PM2's every few seconds.
const GIVEN_UP: Millis = 90_000;
/// More than this are not remembered: nobody would read the list.
const MAX_WAITING: usize = 100;

#[derive(Clone, Debug)]
struct Applicant {
    kind: AgentKind,
    since: Millis,
    asked: Millis,
    /// Why it was refused; `None`: there was no place.
    why: Option<String>,
}

/// Those who wait, by name and host.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting(BTreeMap<(String, String), Applicant>);

impl Waiting {
    /// One was told to wait.
    pub(super) fn note(
        &mut self,
        now: Millis,
        name: &str,
        hostname: &str,
        kind: AgentKind,
        why: Option<&str>,
    ) {
        self.tick(now);
        let who = (name.to_owned(), hostname.to_owned());
        if self.0.len() >= MAX_WAITING && !self.0.contains_key(&who) {
            return;
        }
        let applicant = Applicant {
            kind,
            since: now,
            asked: now,
            why: None,
        };
        let applicant = self.0.entry(who).or_insert(applicant);
        applicant.asked = now;
        applicant.why = why.map(|why| cut(why, MAX_TEXT).to_owned());
    }

    /// One was let in.
    pub(super) fn admitted(&mut self, name: &str, hostname: &str) {
        self.0.remove(&(name.to_owned(), hostname.to_owned()));
    }

    /// Forgets those who gave up.
    pub(super) fn tick(&mut self, now: Millis) {
        self.0
            .retain(|_, applicant| now.saturating_sub(applicant.asked) < GIVEN_UP);
    }

    /// For the server box.
    pub(super) fn to_json(&self) -> Value {
        self.0
            .iter()
            .map(|((name, hostname), applicant)| {
                json!({
                    "name": name,
                    "hostname": hostname,
                    "agent": applicant.kind.as_str(),
                    "since": applicant.since,
                    "why": applicant.why,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(waiting: &Waiting) -> Vec<String> {
        let list = waiting.to_json();
        let list = list.as_array().unwrap().iter();
        list.map(|w| w["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn who_asks_on_stays_on_the_list_and_who_stops_leaves_it() {
        let mut waiting = Waiting::default();
        waiting.note(0, "a", "host", AgentKind::Pm2, None);
        waiting.note(0, "b", "host", AgentKind::Pilothouse, Some("too old"));
        waiting.note(60_000, "a", "host", AgentKind::Pm2, None);
        assert_eq!(names(&waiting), ["a", "b"]);
        assert_eq!(waiting.to_json()[0]["since"], 0);
        assert_eq!(waiting.to_json()[1]["why"], "too old");
        waiting.tick(100_000);
        assert_eq!(names(&waiting), ["a"]);
        waiting.admitted("a", "host");
        assert!(names(&waiting).is_empty());
    }

    #[test]
    fn the_list_is_bounded() {
        let mut waiting = Waiting::default();
        for n in 0..10 * MAX_WAITING {
            waiting.note(0, &n.to_string(), "host", AgentKind::Pm2, None);
        }
        assert_eq!(names(&waiting).len(), MAX_WAITING);
    }
}
