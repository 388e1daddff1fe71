//! Other homes of this host: a daemon says in its title whose it is, and the stored link lies in its home. What is not readable
//! for this user is left out.

use crate::config::{self, AgentFile, LinkSettings};
use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Most of an environment that is looked at.
const MAX_ENVIRONMENT: u64 = 256 << 10;

/// Homes of this host beside `own` whose daemons run and which are linked to the same bucket under the same name.
pub fn of_same_name(own: &Path, settings: &LinkSettings) -> Vec<PathBuf> {
    let hostname = os::host::Host::read().hostname;
    let own = own.canonicalize().unwrap_or_else(|_| own.to_owned());
    homes()
        .into_iter()
        .filter(|home| home.canonicalize().is_ok_and(|path| path != own))
        .filter(|home| {
            let file = config::load(home).ok().flatten();
            file.is_some_and(|file| is_same(&file, settings, &hostname))
        })
        .collect()
}

/// Whether a stored link leads to the same bucket under the same name.
fn is_same(file: &AgentFile, settings: &LinkSettings, hostname: &str) -> bool {
    let name = match file.machine_name.as_str() {
        "" => hostname,
        name => name,
    };
    // Either pair may still be the wrong way round.
    let keys = BTreeSet::from([&file.public_key, &file.secret_key]);
    name == settings.machine_name && keys == BTreeSet::from([&settings.public_key, &settings.secret_key])
}

/// Homes whose daemons run, ours or PM2's.
fn homes() -> BTreeSet<PathBuf> {
    let mut all = Vec::new();
    if let Ok(mut sampler) = os::proc::Sampler::new() {
        // What cannot be read is left out.
        let _ = sampler.sample_all(&mut all);
    }
    all.iter()
        .filter_map(|process| {
            let title = os::proc::command_line(process.pid)?;
            match home_in(&title)? {
                Title::Whole(home) => Some(home),
                Title::Cut => home_in_environment(process.pid),
            }
        })
        .collect()
}

#[derive(Debug, PartialEq, Eq)]
enum Title {
    Whole(PathBuf),
    /// A daemon's, but it did not fit into the place that titles have.
    Cut,
}

/// The home in `PM2 v7.0.4: God Daemon (/home/me/.pm2)`; `None` if it is no daemon's title.
fn home_in(title: &str) -> Option<Title> {
    let rest = title.strip_prefix("PM2 v")?;
    let (_, rest) = rest.split_once(": God Daemon")?;
    let home = rest
        .trim()
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'));
    Some(match home {
        Some(home) if home.starts_with('/') => Title::Whole(home.into()),
        _ => Title::Cut,
    })
}

fn home_in_environment(pid: u32) -> Option<PathBuf> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(format!("/proc/{pid}/environ")).ok()?;
    file.take(MAX_ENVIRONMENT).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let home = text
        .split('\0')
        .find_map(|entry| entry.strip_prefix("PM2_HOME="))?;
    Some(home.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_titles_of_daemons() {
        let whole = |home: &str| Some(Title::Whole(home.into()));
        assert_eq!(
            home_in("PM2 v7.0.4: God Daemon (/home/me/.pm2)"),
            whole("/home/me/.pm2")
        );
        assert_eq!(
            home_in("PM2 v5.4.3: God Daemon (/srv/a (b)) "),
            whole("/srv/a (b)")
        );
        assert_eq!(
            home_in("PM2 v7.0.4: God Daemon (/home/a/very/lo"),
            Some(Title::Cut)
        );
        assert_eq!(home_in("PM2 v7.0.4: God Daemon"), Some(Title::Cut));
        for other in [
            "",
            "node /x/app.js",
            "PM2 Agent v7.0.4: (/home/me/.pm2)",
            "vi PM2 v7: God Daemon (/x)",
        ] {
            assert_eq!(home_in(other), None, "{other}");
        }
    }

    #[test]
    fn the_same_bucket_and_the_same_name() {
        let settings = LinkSettings {
            public_key: "public".into(),
            secret_key: "secret".into(),
            machine_name: "web".into(),
            root: "http://hub".into(),
            reverse: true,
            proxy: None,
            proxy_address: String::new(),
            ports: crate::ports::PortSettings::default(),
        };
        let file = |public: &str, secret: &str, name: &str| AgentFile {
            public_key: public.into(),
            secret_key: secret.into(),
            machine_name: name.into(),
            ..AgentFile::default()
        };
        for (stored, same) in [
            (file("public", "secret", "web"), true),
            (file("secret", "public", "web"), true),
            (file("public", "secret", ""), true),
            (file("public", "secret", "web-2"), false),
            (file("other", "secret", "web"), false),
        ] {
            assert_eq!(is_same(&stored, &settings, "web"), same, "{stored:?}");
        }
    }
}
