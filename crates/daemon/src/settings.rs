//! What the daemon's environment says. Read once, at the start.

use std::time::Duration;

use pm2::dates::Pattern;
use pm2::env::PolicyDefaults;

/// Settings of one daemon.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Defaults of the apps' rules.
    pub(crate) defaults: PolicyDefaults,
    /// PM2_WORKER_INTERVAL: how often memory limits are checked.
    pub(crate) worker_interval: Duration,
    /// PM2_ENABLE_GIT_PARSING: repositories of apps are asked for their revision.
    pub(crate) git_parsing: bool,
    /// PM2_PROCESS_INSTANCE_VAR.
    pub(crate) instance_var: Option<String>,
    /// PM2_LOG_DATE_FORMAT: the date before each line of the daemon's log; `None`: neither date nor `log:PM2` on the bus.
    pub(crate) log_date: Option<Pattern>,
    /// PM2_NODE_OPTIONS: arguments of Node for each app in fork mode.
    pub(crate) node_options: Vec<String>,
    /// PM2_NO_INTERACTION: the stored link is left alone until somebody links.
    pub(crate) stays_alone: bool,
    /// PM2_SOCKET_USER and PM2_SOCKET_GROUP.
    pub(crate) socket_owner: (Option<u32>, Option<u32>),
}

impl Settings {
    /// What these variables mean; what can't be read counts as unset.
    pub(crate) fn from_env(env: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let number = |name: &str| set(name).and_then(|value| value.trim().parse::<u32>().ok());
        let log_date = match env("PM2_LOG_DATE_FORMAT") {
            None => Some(Pattern::new("YYYY-MM-DDTHH:mm:ss")),
            Some(empty) if empty.is_empty() => None,
            Some(pattern) => Some(Pattern::new(&pattern)),
        };
        let worker = number("PM2_WORKER_INTERVAL")
            .filter(|ms| *ms > 0)
            .unwrap_or(30_000);
        Self {
            defaults: PolicyDefaults::from_env(&env),
            worker_interval: Duration::from_millis(u64::from(worker)),
            git_parsing: set("PM2_ENABLE_GIT_PARSING").as_deref() == Some("true"),
            instance_var: set("PM2_PROCESS_INSTANCE_VAR"),
            log_date,
            node_options: set("PM2_NODE_OPTIONS")
                .map(|words| pm2::units::split_words(&words))
                .unwrap_or_default(),
            stays_alone: set("PM2_NO_INTERACTION").as_deref() == Some("true"),
            socket_owner: (number("PM2_SOCKET_USER"), number("PM2_SOCKET_GROUP")),
        }
    }
}
