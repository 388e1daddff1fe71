//! Init systems.

/// An init system that can be told to start the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Platform {
    Systemd,
    Upstart,
    Systemv,
    Openrc,
    Launchd,
    Rcd,
    RcdOpenbsd,
    Smf,
}

/// The program whose presence tells the init system, in the order in which they are looked for.
const SIGNS: [(&str, Platform); 8] = [
    ("systemctl", Platform::Systemd),
    ("update-rc.d", Platform::Upstart),
    ("chkconfig", Platform::Systemv),
    ("rc-update", Platform::Openrc),
    ("launchctl", Platform::Launchd),
    ("sysrc", Platform::Rcd),
    ("rcctl", Platform::RcdOpenbsd),
    ("svcadm", Platform::Smf),
];

/// Every word that stands for a platform on the command line.
const NAMES: [(&str, Platform); 23] = [
    ("systemd", Platform::Systemd),
    ("ubuntu", Platform::Systemd),
    ("centos", Platform::Systemd),
    ("arch", Platform::Systemd),
    ("oracle", Platform::Systemd),
    ("upstart", Platform::Upstart),
    ("ubuntu14", Platform::Upstart),
    ("ubuntu12", Platform::Upstart),
    ("systemv", Platform::Systemv),
    ("amazon", Platform::Systemv),
    ("centos6", Platform::Systemv),
    ("openrc", Platform::Openrc),
    ("gentoo", Platform::Openrc),
    ("alpine", Platform::Openrc),
    ("launchd", Platform::Launchd),
    ("macos", Platform::Launchd),
    ("darwin", Platform::Launchd),
    ("rcd", Platform::Rcd),
    ("freebsd", Platform::Rcd),
    ("rcd-openbsd", Platform::RcdOpenbsd),
    ("openbsd", Platform::RcdOpenbsd),
    ("smf", Platform::Smf),
    ("solaris", Platform::Smf),
];

impl Platform {
    /// The one that this machine has.
    pub(crate) fn detect(has: impl Fn(&str) -> bool) -> Option<Platform> {
        SIGNS
            .iter()
            .find(|(program, _)| has(program))
            .map(|(_, platform)| *platform)
    }

    /// What a word of the command line stands for.
    pub(crate) fn named(word: &str) -> Option<Platform> {
        // An older word for the same.
        let word = if word == "sunos" { "smf" } else { word };
        NAMES
            .iter()
            .find(|(name, _)| *name == word)
            .map(|(_, platform)| *platform)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Platform::Systemd => "systemd",
            Platform::Upstart => "upstart",
            Platform::Systemv => "systemv",
            Platform::Openrc => "openrc",
            Platform::Launchd => "launchd",
            Platform::Rcd => "rcd",
            Platform::RcdOpenbsd => "rcd-openbsd",
            Platform::Smf => "smf",
        }
    }

    /// The words that can be typed, for a complaint.
    pub(crate) fn words() -> String {
        NAMES.map(|(name, _)| name).join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_program_and_by_its_name() {
        for (program, platform) in SIGNS {
            assert_eq!(Platform::detect(|p| p == program), Some(platform));
            assert_eq!(Platform::named(platform.name()), Some(platform));
        }
        assert_eq!(Platform::detect(|_| true), Some(Platform::Systemd));
        assert_eq!(Platform::detect(|_| false), None);
        assert_eq!(Platform::named("sunos"), Some(Platform::Smf));
        assert_eq!(Platform::named("windows"), None);
    }
}
