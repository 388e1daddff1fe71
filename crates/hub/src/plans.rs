//! Plans: how many processes a bucket may watch, and which ones those are. Pure.
//!
//! The choice is by age: the oldest first. It never depends on anything that changes from second to second, so the
//! same processes stay watched however often it is made.

use std::collections::BTreeSet;

use crate::live::model::Millis;
use crate::store::catalog::Bucket;

/// Modules that cost nothing.
pub const FREE_MODULES: [&str; 2] = ["pm2-logrotate", "pm2-auto-pull"];

/// What a bucket may watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plan {
    /// No limit: the default of a hub of one's own.
    #[default]
    Unlimited,
    /// At most so many processes.
    Processes(u32),
}

impl Plan {
    /// What a bucket is allowed: its own limit, if it has one, before that of its plan.
    pub fn of(bucket: &Bucket) -> Self {
        match bucket.max_processes {
            Some(limit) => Self::Processes(limit),
            None => Self::parse(&bucket.plan),
        }
    }

    /// Whether this is an id that a plan may have.
    pub fn is_id(id: &str) -> bool {
        let number = id
            .strip_prefix("pro_")
            .map(|n| n.strip_suffix("_yearly").unwrap_or(n));
        match number {
            Some(number) => number.parse::<u32>().is_ok_and(|n| n > 0),
            None => ["unlimited", "free", "enterprise"].contains(&id),
        }
    }

    /// Reads a plan id. `pro_N` allows N processes, with any suffix (`pro_256_yearly`); every other id is unlimited,
    /// because a name that we do not know must not take anybody's processes away.
    pub fn parse(id: &str) -> Self {
        let digits = id
            .strip_prefix("pro_")
            .map(|rest| rest.split('_').next().unwrap_or_default());
        match digits.and_then(|d| d.parse().ok()) {
            Some(limit) => Self::Processes(limit),
            None => Self::Unlimited,
        }
    }

    /// The limit as a number, if there is one.
    pub fn limit(self) -> Option<u32> {
        match self {
            Self::Unlimited => None,
            Self::Processes(n) => Some(n),
        }
    }
}

/// One entry that may count. `K` names it.
#[derive(Clone, Debug)]
pub struct Candidate<'a, K> {
    /// Name of the entry; also breaks ties, so that the order is total.
    pub key: K,
    /// App name, to know the free modules.
    pub name: &'a str,
    /// When the hub first saw it.
    pub first_seen: Millis,
}

/// Entries that exceed the plan.
pub fn over_plan<'a, K: Ord + Clone>(
    plan: Plan,
    candidates: impl IntoIterator<Item = Candidate<'a, K>>,
) -> BTreeSet<K> {
    let Plan::Processes(limit) = plan else {
        return BTreeSet::new();
    };
    let mut counting: Vec<_> = candidates
        .into_iter()
        .filter(|c| !FREE_MODULES.contains(&c.name))
        .map(|c| (c.first_seen, c.key))
        .collect();
    counting.sort_unstable();
    counting
        .into_iter()
        .skip(limit as usize)
        .map(|(_, key)| key)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plan_ids() {
        assert_eq!(Plan::parse("pro_4"), Plan::Processes(4));
        assert_eq!(Plan::parse("pro_256_yearly"), Plan::Processes(256));
        for id in ["", "free", "enterprise", "unlimited", "pro_", "pro_x", "pro_-1"] {
            assert_eq!(Plan::parse(id), Plan::Unlimited, "{id}");
        }
    }

    #[test]
    fn s11_plan_ids_and_a_limit_of_the_buckets_own() {
        for id in [
            "unlimited",
            "free",
            "pro_4",
            "pro_8",
            "pro_16",
            "pro_32",
            "pro_256",
            "pro_256_yearly",
            "enterprise",
        ] {
            assert!(Plan::is_id(id), "{id}");
        }
        for id in [
            "",
            "pro_",
            "pro_0",
            "pro_4_daily",
            "gold",
            "pro_-1",
            "pro_99999999999",
        ] {
            assert!(!Plan::is_id(id), "{id}");
        }
        let owner = crate::ids::UserId::from_bytes([1; 12]);
        let mut bucket = crate::api::new_bucket("b", owner, 0);
        assert_eq!(Plan::of(&bucket), Plan::Unlimited);
        bucket.plan = "pro_256".into();
        assert_eq!(Plan::of(&bucket), Plan::Processes(256));
        bucket.max_processes = Some(1024);
        assert_eq!(Plan::of(&bucket), Plan::Processes(1024));
    }

    fn candidate(key: u32, first_seen: Millis) -> Candidate<'static, u32> {
        Candidate {
            key,
            name: "app",
            first_seen,
        }
    }

    #[test]
    fn the_youngest_are_over() {
        let four = (0..4).map(|i| candidate(i, 100));
        assert!(over_plan(Plan::Processes(4), four.clone()).is_empty());
        let five = four.chain([candidate(9, 200)]);
        assert_eq!(over_plan(Plan::Processes(4), five), BTreeSet::from([9]));
    }

    #[test]
    fn free_modules_do_not_count() {
        let module = Candidate {
            key: 0,
            name: "pm2-logrotate",
            first_seen: 1,
        };
        assert_eq!(
            over_plan(Plan::Processes(1), [module, candidate(1, 2)]),
            BTreeSet::new()
        );
    }

    proptest! {
        #[test]
        fn never_more_than_the_limit_and_independent_of_order(
            ages in prop::collection::vec(0i64..5, 0..40), limit in 0u32..45, seed in any::<u64>()
        ) {
            let mut all: Vec<_> = ages.iter().enumerate().map(|(i, age)| candidate(i as u32, *age)).collect();
            let over = over_plan(Plan::Processes(limit), all.clone());
            prop_assert_eq!(over.len(), ages.len().saturating_sub(limit as usize));
            let turn = if all.is_empty() { 0 } else { seed as usize % all.len() };
            all.rotate_left(turn);
            prop_assert_eq!(&over, &over_plan(Plan::Processes(limit), all));
            // Nobody who is over is older than somebody who is in.
            let oldest_over = over.iter().map(|k| ages[*k as usize]).min();
            let youngest_in = (0..ages.len() as u32).filter(|k| !over.contains(k)).map(|k| ages[k as usize]).max();
            if let (Some(o), Some(i)) = (oldest_over, youngest_in) { prop_assert!(i <= o); }
        }
    }
}
