//! When which log files are put aside: what the user set for all, what an app says, and who else might be doing it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use logs::{Rotation, Side};
use pm2::cron::Schedule;
use pm2::dates::TimeZone;
use pm2::env::Pm2Env;
use pm2::log_rotation::{LogRotation, SECTION};
use serde_json::Value;
use supervisor::{ProcId, Status};

use crate::clock;
use crate::event::Event;
use crate::owner::Daemon;

/// The module that rotates logs where PM2 runs. While it does its work, nobody gets in its way.
const MODULE: &str = "pm2-logrotate";

/// The rules of this daemon.
#[derive(Debug, Default)]
pub(crate) struct LogRules {
    common: LogRotation,
    /// Somebody else puts the files aside.
    elsewhere: bool,
    /// When each pattern comes next, ms since the epoch.
    next: BTreeMap<String, i64>,
}

impl LogRules {
    /// Lay an app's own words over what holds for all. Complaints come with it.
    fn of(&self, own: Option<&Value>) -> (Option<Rotation>, Vec<String>) {
        let (rules, complaints) = self.laid_over(own);
        (rules.map(|rules| rotation(&rules)), complaints)
    }

    fn laid_over(&self, own: Option<&Value>) -> (Option<LogRotation>, Vec<String>) {
        let mut rules = self.common.clone();
        let complaints = own.map_or_else(Vec::new, |own| rules.overlay(own));
        let enabled = rules.enabled.unwrap_or(!self.elsewhere);
        (enabled.then_some(rules), complaints)
    }

    /// The pattern by which files are put aside.
    fn interval(&self, own: Option<&Value>) -> Option<String> {
        self.laid_over(own).0?.interval
    }

    /// Those of these patterns whose time has come; each once, however often it came. A pattern that is new comes later.
    fn take_due(&mut self, patterns: &BTreeSet<String>, now_ms: i64, zone: &TimeZone) -> BTreeSet<String> {
        self.next.retain(|pattern, _| patterns.contains(pattern));
        let mut due = BTreeSet::new();
        for pattern in patterns {
            if self.next.get(pattern).is_some_and(|next| *next > now_ms) {
                continue;
            }
            if self.next.contains_key(pattern) {
                due.insert(pattern.clone());
            }
            let next = Schedule::parse(pattern)
                .ok()
                .and_then(|s| s.next_after(now_ms, zone));
            self.next.insert(pattern.clone(), next.unwrap_or(i64::MAX));
        }
        due
    }

    /// Rules of the log of the daemon itself.
    pub(crate) fn own_log(&self) -> Option<Rotation> {
        self.of(None).0
    }
}

fn rotation(rules: &LogRotation) -> Rotation {
    Rotation {
        max_size: rules.max_size,
        retain: rules
            .retain
            .map(|count| usize::try_from(count).unwrap_or(usize::MAX)),
        max_age: rules.max_age_ms.map(Duration::from_millis),
        compress: rules.compress,
    }
}

/// The rules in the text of `module_conf.json`; none are an empty file.
pub(crate) fn common_rules(text: &str) -> (LogRotation, Vec<String>) {
    let mut rules = LogRotation::default();
    if text.trim().is_empty() {
        return (rules, Vec::new());
    }
    let complaints = match serde_json::from_str::<Value>(text) {
        Ok(stored) => stored
            .get(SECTION)
            .map_or_else(Vec::new, |section| rules.overlay(section)),
        Err(error) => vec![format!("it is not JSON: {error}")],
    };
    (rules, complaints)
}

impl Daemon {
    /// Read the settings again, beside the loop.
    pub(crate) fn look_up_log_rules(&self) {
        let path = self.home.module_conf_file.clone();
        let events = self.events.clone();
        tokio::spawn(async move {
            let text = tokio::fs::read_to_string(path).await.unwrap_or_default();
            let _ = events.send(Event::ModuleConf(text)).await;
        });
    }

    /// `module_conf.json` was read.
    pub(crate) fn take_log_rules(&mut self, text: &str) {
        let (common, complaints) = common_rules(text);
        for complaint in complaints {
            let file = self.home.module_conf_file.display();
            self.complain(&format!("{file}, {SECTION}: {complaint}"));
        }
        self.rules.common = common;
        self.apply_log_rules();
    }

    /// What is online has changed: is there somebody else who rotates?
    pub(crate) fn look_for_rotators(&mut self) {
        let elsewhere = self.apps.iter().any(|(id, app)| {
            let online = || {
                self.sup
                    .view(*id)
                    .is_some_and(|view| view.status == Status::Online)
            };
            app.env.name() == MODULE && online()
        });
        if elsewhere != self.rules.elsewhere {
            self.rules.elsewhere = elsewhere;
            self.apply_log_rules();
        }
    }

    fn apply_log_rules(&mut self) {
        for (incarnation, life) in &self.lives {
            let Some(app) = self.apps.get(&life.id) else {
                continue;
            };
            let (rotation, _) = self.rules.of(app.env.log_rotation().as_deref());
            for side in [Side::Out, Side::Err] {
                self.pump.set_rotation(*incarnation, side, rotation.clone());
            }
        }
        self.disk.rotate_log(self.rules.own_log());
        self.rotate_by_clock();
    }

    /// Put aside what a pattern says is to be put aside now. Looked at whenever other things are looked at from time to time.
    pub(crate) fn rotate_by_clock(&mut self) {
        let own = self.rules.interval(None);
        let mut wanted = Vec::new();
        for (incarnation, life) in &self.lives {
            let Some(app) = self.apps.get(&life.id) else {
                continue;
            };
            wanted.extend(
                self.rules
                    .interval(app.env.log_rotation().as_deref())
                    .map(|pattern| (pattern, *incarnation)),
            );
        }
        let patterns = wanted
            .iter()
            .map(|(pattern, _)| pattern.clone())
            .chain(own.clone());
        let patterns: BTreeSet<String> = patterns.collect();
        if patterns.is_empty() {
            self.rules.next.clear();
            return;
        }
        let due = self.rules.take_due(&patterns, clock::wall_ms(), clock::zone());
        for (_, incarnation) in wanted.iter().filter(|(pattern, _)| due.contains(pattern)) {
            for side in [Side::Out, Side::Err] {
                self.pump.rotate(*incarnation, side);
            }
        }
        if own.is_some_and(|pattern| due.contains(&pattern)) {
            self.disk.rotate_log_now();
        }
    }

    /// The rules for a life that begins; what makes no sense in them is told.
    pub(crate) fn rotation_of(&mut self, id: ProcId) -> Option<Rotation> {
        let env: &Pm2Env = &self.apps.get(&id)?.env;
        let (rotation, complaints) = self.rules.of(env.log_rotation().as_deref());
        let label = format!("{}:{}", env.name(), id.0);
        for complaint in complaints {
            self.complain(&format!("App [{label}], logrotate: {complaint}"));
        }
        rotation
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(text: &str, elsewhere: bool) -> LogRules {
        LogRules {
            common: common_rules(text).0,
            elsewhere,
            ..LogRules::default()
        }
    }

    #[test]
    fn the_app_is_asked_before_all_and_a_module_only_where_nobody_said_anything() {
        let on = |rules: &LogRules, own: Value| rules.of(Some(&own)).0.is_some();
        let silent = rules("", false);
        assert!(on(&silent, json!(null)) && !on(&silent, json!(false)));
        let aside = rules("{}", true);
        assert!(!on(&aside, json!(null)) && on(&aside, json!(true)));
        let told = rules(r#"{"logrotate":{"enabled":"true"}}"#, true);
        assert!(on(&told, json!(null)) && told.own_log().is_some());
        let off = rules(r#"{"logrotate":"false"}"#, false);
        assert!(!on(&off, json!(null)) && on(&off, json!({ "enabled": true })));
    }

    #[test]
    fn sizes_and_counts_come_from_the_nearest_word() {
        let rules = rules(r#"{"logrotate":{"max_size":"5M","retain":"2"}}"#, false);
        let (rotation, complaints) = rules.of(Some(&json!({ "max_size": "1K", "odd": 1 })));
        let rotation = rotation.unwrap();
        assert_eq!((rotation.max_size, rotation.retain), (Some(1024), Some(2)));
        assert_eq!(complaints.len(), 1);
    }

    #[test]
    fn a_pattern_comes_once_however_late_it_is_looked_at() {
        let mut rules = rules(r#"{"logrotate":{"rotateInterval":"0 * * * *"}}"#, false);
        let pattern = rules.interval(None).unwrap();
        assert_eq!(rules.interval(Some(&json!({ "rotateInterval": "none" }))), None);
        assert_eq!(rules.interval(Some(&json!(false))), None);
        let patterns = BTreeSet::from([pattern.clone()]);
        let hour = 3_600_000;
        let mut due = |now| !rules.take_due(&patterns, now, &TimeZone::UTC).is_empty();
        assert!(!due(hour / 2), "a new pattern waits for its time");
        assert!(!due(hour - 1));
        assert!(due(hour) && !due(hour + 1));
        assert!(due(5 * hour + 1) && !due(5 * hour + 2));
        rules.take_due(&BTreeSet::new(), 0, &TimeZone::UTC);
        assert!(rules.next.is_empty());
    }

    #[test]
    fn a_broken_file_is_told_and_the_defaults_hold() {
        let (rules, complaints) = common_rules("{");
        assert_eq!(rules, LogRotation::default());
        assert_eq!(complaints.len(), 1);
    }
}
