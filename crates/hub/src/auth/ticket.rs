//! One-time tickets that carry a login from one request to the next.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::hash_token;
use crate::ids::{UserId, random_key};

/// How long a ticket is good, ms.
const LIFE_MS: i64 = 60_000;
/// Tickets that are out at once; the oldest are void beyond.
const MAX_TICKETS: usize = 1000;

/// Tickets that are out, by hash.
#[derive(Debug, Default)]
pub struct Tickets(Mutex<HashMap<[u8; 32], (UserId, i64)>>);

impl Tickets {
    /// A ticket for somebody who just proved who they are.
    pub fn issue(&self, user: UserId, now_ms: i64) -> String {
        let ticket = random_key(52);
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        out.retain(|_, (_, until_ms)| *until_ms > now_ms);
        if out.len() >= MAX_TICKETS
            && let Some(oldest) = out
                .iter()
                .min_by_key(|(_, (_, until_ms))| *until_ms)
                .map(|(hash, _)| *hash)
        {
            out.remove(&oldest);
        }
        out.insert(hash_token(&ticket), (user, now_ms + LIFE_MS));
        ticket
    }

    /// Whose ticket it is; it is void afterwards.
    pub fn redeem(&self, ticket: &str, now_ms: i64) -> Option<UserId> {
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (user, until_ms) = out.remove(&hash_token(ticket))?;
        (until_ms > now_ms).then_some(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_once_and_for_a_minute() {
        let (tickets, user) = (Tickets::default(), UserId::from_bytes([1; 12]));
        let ticket = tickets.issue(user, 0);
        assert_eq!(tickets.redeem("other", 0), None);
        assert_eq!(tickets.redeem(&ticket, 1), Some(user));
        assert_eq!(tickets.redeem(&ticket, 1), None);
        let late = tickets.issue(user, 0);
        assert_eq!(tickets.redeem(&late, LIFE_MS), None);
    }

    #[test]
    fn tickets_do_not_pile_up() {
        let (tickets, user) = (Tickets::default(), UserId::from_bytes([1; 12]));
        let first = tickets.issue(user, 0);
        for n in 1..=MAX_TICKETS as i64 {
            tickets.issue(user, n);
        }
        assert_eq!(tickets.redeem(&first, 1), None);
        assert_eq!(tickets.0.lock().unwrap().len(), MAX_TICKETS);
    }
}
