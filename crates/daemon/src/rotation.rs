//! When which log files are put aside: what the user set for all, what an app says, and who else might be doing it.

use std::time::Duration;

use logs::{Rotation, Side};
use pm2::env::Pm2Env;
use pm2::log_rotation::{LogRotation, SECTION};
use serde_json::Value;
use supervisor::{ProcId, Status};

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
}

impl LogRules {
    /// Lay an app's own words over what holds for all. Complaints come with it.
    fn of(&self, own: Option<&Value>) -> (Option<Rotation>, Vec<String>) {
        let mut rules = self.common.clone();
        let complaints = own.map_or_else(Vec::new, |own| rules.overlay(own));
        let enabled = rules.enabled.unwrap_or(!self.elsewhere);
        (enabled.then(|| rotation(&rules)), complaints)
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
            let (rotation, _) = self.rules.of(app.env.log_rotation());
            for side in [Side::Out, Side::Err] {
                self.pump.set_rotation(*incarnation, side, rotation.clone());
            }
        }
        self.disk.rotate_log(self.rules.own_log());
    }

    /// The rules for a life that begins; what makes no sense in them is told.
    pub(crate) fn rotation_of(&mut self, id: ProcId) -> Option<Rotation> {
        let env: &Pm2Env = &self.apps.get(&id)?.env;
        let (rotation, complaints) = self.rules.of(env.log_rotation());
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
    fn a_broken_file_is_told_and_the_defaults_hold() {
        let (rules, complaints) = common_rules("{");
        assert_eq!(rules, LogRotation::default());
        assert_eq!(complaints.len(), 1);
    }
}
