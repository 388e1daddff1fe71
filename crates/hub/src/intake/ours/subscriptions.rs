//! Which log lines one agent of ours is asked for. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use wire::HubMessage;
use wire::message::{LogSubscribe, LogUnsubscribe};

use crate::live::logs::Interest;

/// Log subscriptions run this long, and are renewed at half of it.
pub(super) const LEASE: Duration = Duration::from_secs(120);
/// Apps with a subscription of their own; beyond, everything is subscribed and filtered here.
const MAX_APP_SUBSCRIPTIONS: usize = 32;

/// The log subscriptions of one link.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    next: u64,
    /// By app; `None` is everything.
    running: BTreeMap<Option<String>, u64>,
}

impl Subscriptions {
    /// Messages that make the agent send what is wanted, and nothing else.
    pub(super) fn follow(&mut self, interest: &Interest) -> Vec<HubMessage> {
        let everything = interest.all || interest.apps.len() > MAX_APP_SUBSCRIPTIONS;
        let wanted: Vec<Option<String>> = if everything {
            vec![None]
        } else {
            interest.apps.iter().cloned().map(Some).collect()
        };
        let mut messages = Vec::new();
        for app in &wanted {
            if !self.running.contains_key(app) {
                self.next += 1;
                self.running.insert(app.clone(), self.next);
                messages.push(subscribe(self.next, app.clone()));
            }
        }
        // Ends come after beginnings, so that no line falls between.
        self.running.retain(|app, id| {
            let keep = wanted.contains(app);
            if !keep {
                messages.push(HubMessage::LogUnsubscribe(LogUnsubscribe { id: *id }));
            }
            keep
        });
        messages
    }

    /// A subscription ran out: begins it again if it is still wanted.
    pub(super) fn ended(&self, id: u64) -> Option<HubMessage> {
        self.running
            .iter()
            .find(|(_, running)| **running == id)
            .map(|(app, id)| subscribe(*id, app.clone()))
    }

    pub(super) fn renew(&self) -> Vec<HubMessage> {
        self.running
            .iter()
            .map(|(app, id)| subscribe(*id, app.clone()))
            .collect()
    }
}

fn subscribe(id: u64, app: Option<String>) -> HubMessage {
    let lease_ms = u32::try_from(LEASE.as_millis()).unwrap_or(u32::MAX);
    HubMessage::LogSubscribe(LogSubscribe {
        id,
        app,
        lease_ms,
        by: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_follow_the_interest() {
        let interest = |all, apps: &[&str]| Interest {
            all,
            apps: apps.iter().map(|a| (*a).to_owned()).collect(),
        };
        let kinds = |messages: Vec<HubMessage>| messages.iter().map(HubMessage::kind).collect::<Vec<_>>();
        let mut logs = Subscriptions::default();
        assert!(logs.follow(&interest(false, &[])).is_empty());
        assert_eq!(logs.follow(&interest(false, &["api"])).len(), 1);
        assert!(
            logs.follow(&interest(false, &["api"])).is_empty(),
            "nothing new, nothing said"
        );
        assert_eq!(
            logs.follow(&interest(true, &["api"])).len(),
            2,
            "everything begins, the one app ends"
        );
        assert_eq!(kinds(logs.renew()).len(), 1);
        assert_eq!(logs.follow(&interest(false, &[])).len(), 1);
        assert!(logs.renew().is_empty());
    }
}
