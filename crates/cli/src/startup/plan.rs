//! What has to be written and run on each init system.

use super::Platform;
use super::quote::{nested_shell, shell, unit, unit_command, xml};
use std::path::PathBuf;

/// What the files must say.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Absolute path of this program.
    pub(crate) program: String,
    /// `PATH` of the service.
    pub(crate) path: String,
    pub(crate) user: String,
    /// Home folder of the user.
    pub(crate) user_home: String,
    /// `$PM2_HOME` of the service.
    pub(crate) home: String,
    /// `--service-name`.
    pub(crate) service_name: Option<String>,
    /// `--wait-ip`.
    pub(crate) wait_ip: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Name of the service.
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    pub(crate) text: String,
    pub(crate) executable: bool,
    /// Run one after another, each as its words.
    pub(crate) enable: Vec<Vec<String>>,
    /// Run before the file is removed.
    pub(crate) disable: Vec<Vec<String>>,
    /// Removed at the end, if they are there.
    pub(crate) remove: Vec<PathBuf>,
}

/// Marks of the templates and what stands for them.
struct Marks<'f> {
    facts: &'f Facts,
    name: &'f str,
    quote: fn(&str) -> String,
    program: fn(&str) -> String,
}

impl Marks<'_> {
    fn fill(&self, template: &str) -> String {
        let after = if self.facts.wait_ip {
            "network-online.target"
        } else {
            "network.target"
        };
        template
            .replace("@AFTER@", after)
            .replace("@NAME@", self.name)
            .replace("@DAEMON@", &shell(&self.facts.program))
            .replace("@USER@", &self.facts.user)
            .replace("@PATH@", &(self.quote)(&self.facts.path))
            .replace("@HOME@", &(self.quote)(&self.facts.home))
            .replace("@PROGRAM@", &(self.program)(&self.facts.program))
    }
}

impl Plan {
    /// The plan for this platform.
    ///
    /// # Errors
    /// A name that would leave the folder of the init system, or break its file.
    pub(crate) fn new(platform: Platform, facts: &Facts) -> Result<Plan, String> {
        let default = match platform {
            Platform::Systemd | Platform::Upstart | Platform::Systemv => format!("pm2-{}", facts.user),
            Platform::Openrc => "pm2".to_owned(),
            Platform::Launchd => format!("pm2.{}", facts.user),
            Platform::Rcd | Platform::RcdOpenbsd | Platform::Smf => format!("pm2_{}", facts.user),
        };
        let name = facts.service_name.clone().unwrap_or(default);
        for (what, text) in [("service name", &name), ("user", &facts.user)] {
            let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
            if text.is_empty() || text.starts_with(['-', '.']) || !text.chars().all(fine) {
                return Err(format!(
                    "the {what} {text:?} is not one: letters, digits, '-', '_' and '.' are"
                ));
            }
        }
        if [&facts.path, &facts.home, &facts.program]
            .iter()
            .any(|text| text.contains(char::is_control))
        {
            return Err("PATH, home and program must not contain control characters".into());
        }
        Ok(match platform {
            Platform::Systemd => systemd(facts, name),
            Platform::Upstart | Platform::Systemv => sysv(platform, facts, name),
            Platform::Openrc => openrc(facts, name),
            Platform::Launchd => launchd(facts, name),
            Platform::Rcd | Platform::RcdOpenbsd => rcd(platform, facts, name),
            Platform::Smf => smf(facts, name),
        })
    }
}

fn words(commands: &[&str]) -> Vec<Vec<String>> {
    commands
        .iter()
        .map(|command| command.split(' ').map(str::to_owned).collect())
        .collect()
}

fn systemd(facts: &Facts, name: String) -> Plan {
    let marks = Marks {
        facts,
        name: &name,
        quote: unit,
        program: unit_command,
    };
    let file = PathBuf::from(format!("/etc/systemd/system/{name}.service"));
    Plan {
        text: marks.fill(include_str!("templates/systemd.service")),
        executable: false,
        enable: words(&[&format!("systemctl enable {name}")]),
        disable: words(&[&format!("systemctl disable {name}")]),
        remove: vec![file.clone()],
        file,
        name,
    }
}

fn sysv(platform: Platform, facts: &Facts, name: String) -> Plan {
    let marks = Marks {
        facts,
        name: &name,
        quote: nested_shell,
        program: nested_shell,
    };
    let file = PathBuf::from(format!("/etc/init.d/{name}"));
    let lock = format!("/var/lock/subsys/{name}");
    let (on, off) = match platform {
        Platform::Upstart => (
            vec![format!("update-rc.d {name} defaults")],
            vec![
                format!("update-rc.d {name} disable"),
                format!("update-rc.d {name} remove"),
            ],
        ),
        _ => (
            vec![format!("chkconfig --add {name}"), format!("chkconfig {name} on")],
            vec![format!("chkconfig {name} off"), format!("chkconfig --del {name}")],
        ),
    };
    let mut enable = words(&["mkdir -p /var/lock/subsys", &format!("touch {lock}")]);
    enable.extend(words(&on.iter().map(String::as_str).collect::<Vec<_>>()));
    Plan {
        text: marks.fill(include_str!("templates/sysv.sh")),
        executable: true,
        enable,
        disable: words(&off.iter().map(String::as_str).collect::<Vec<_>>()),
        remove: vec![file.clone(), lock.into()],
        file,
        name,
    }
}

fn openrc(facts: &Facts, name: String) -> Plan {
    let marks = Marks {
        facts,
        name: &name,
        quote: nested_shell,
        program: nested_shell,
    };
    let file = PathBuf::from(format!("/etc/init.d/{name}"));
    Plan {
        text: marks.fill(include_str!("templates/openrc.sh")),
        executable: true,
        enable: words(&[&format!("rc-update add {name} default")]),
        disable: words(&[&format!("rc-update delete {name} default")]),
        remove: vec![file.clone()],
        file,
        name,
    }
}

fn launchd(facts: &Facts, name: String) -> Plan {
    let marks = Marks {
        facts,
        name: &name,
        quote: xml,
        program: xml,
    };
    let file = PathBuf::from(format!("{}/Library/LaunchAgents/{name}.plist", facts.user_home));
    let load = |verb: &str| {
        vec![
            "launchctl".to_owned(),
            verb.to_owned(),
            "-w".to_owned(),
            file.to_string_lossy().into_owned(),
        ]
    };
    Plan {
        text: marks.fill(include_str!("templates/launchd.plist")),
        executable: false,
        enable: vec![load("load")],
        disable: vec![load("unload")],
        remove: vec![file.clone()],
        file,
        name,
    }
}

fn rcd(platform: Platform, facts: &Facts, name: String) -> Plan {
    // A shell variable is named after the service.
    let name = name.replace(['-', '.', '@'], "_");
    let bsd = platform == Platform::Rcd;
    let marks = Marks {
        facts,
        name: &name,
        quote: nested_shell,
        program: nested_shell,
    };
    let (file, template, on, off) = if bsd {
        (
            format!("/usr/local/etc/rc.d/{name}"),
            include_str!("templates/rcd.sh"),
            format!("sysrc {name}_enable=YES"),
            format!("sysrc -x {name}_enable"),
        )
    } else {
        (
            format!("/etc/rc.d/{name}"),
            include_str!("templates/rcd-openbsd.sh"),
            format!("rcctl enable {name}"),
            format!("rcctl disable {name}"),
        )
    };
    let file = PathBuf::from(file);
    Plan {
        text: marks.fill(template),
        executable: true,
        enable: words(&[&on]),
        disable: words(&[&off]),
        remove: vec![file.clone()],
        file,
        name,
    }
}

fn smf(facts: &Facts, name: String) -> Plan {
    let marks = Marks {
        facts,
        name: &name,
        quote: xml,
        program: xml,
    };
    let file = PathBuf::from(format!("/lib/svc/manifest/site/{name}.xml"));
    Plan {
        text: marks.fill(include_str!("templates/smf.xml")),
        executable: false,
        enable: words(&[
            &format!("svccfg import {}", file.display()),
            &format!("svcadm enable {name}"),
        ]),
        disable: words(&[
            &format!("svcadm disable {name}"),
            &format!("svccfg delete -f {name}"),
        ]),
        remove: vec![file.clone()],
        file,
        name,
    }
}

/// The configuration for logrotate(8).
pub(crate) fn logrotate(home: &str, user: &str, group: &str) -> String {
    include_str!("templates/logrotate.conf")
        .replace("@HOME@", &home.replace(' ', "\\ "))
        .replace("@USER@", user)
        .replace("@GROUP@", group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            program: "/opt/my tools/pm2".into(),
            path: "/usr/bin:/opt/it's".into(),
            user: "www".into(),
            user_home: "/home/www".into(),
            home: "/home/www/.pm2".into(),
            service_name: None,
            wait_ip: false,
        }
    }

    const ALL: [Platform; 8] = [
        Platform::Systemd,
        Platform::Upstart,
        Platform::Systemv,
        Platform::Openrc,
        Platform::Launchd,
        Platform::Rcd,
        Platform::RcdOpenbsd,
        Platform::Smf,
    ];

    #[test]
    fn no_mark_is_left_and_what_was_made_is_removed() {
        for platform in ALL {
            let plan = Plan::new(platform, &facts()).unwrap();
            assert!(
                !plan.text.contains("@USER@") && !plan.text.contains("@PROGRAM@"),
                "{platform:?}"
            );
            assert!(
                !plan.text.contains("@PATH@")
                    && !plan.text.contains("@HOME@")
                    && !plan.text.contains("@NAME@"),
                "{platform:?}"
            );
            assert!(
                plan.text.contains("www") && plan.text.contains("resurrect"),
                "{platform:?}"
            );
            assert!(plan.remove.contains(&plan.file), "{platform:?}");
            assert_eq!(plan.enable.is_empty(), plan.disable.is_empty(), "{platform:?}");
        }
    }

    #[test]
    fn names_and_places() {
        let place = |platform, service_name: Option<&str>| {
            let service_name = service_name.map(str::to_owned);
            let plan = Plan::new(
                platform,
                &Facts {
                    service_name,
                    ..facts()
                },
            )
            .unwrap();
            (
                plan.file.display().to_string(),
                plan.enable.last().unwrap().join(" "),
            )
        };
        assert_eq!(
            place(Platform::Systemd, None),
            (
                "/etc/systemd/system/pm2-www.service".into(),
                "systemctl enable pm2-www".into()
            )
        );
        assert_eq!(
            place(Platform::Upstart, Some("abc")),
            ("/etc/init.d/abc".into(), "update-rc.d abc defaults".into())
        );
        assert_eq!(
            place(Platform::Rcd, Some("a-b")),
            ("/usr/local/etc/rc.d/a_b".into(), "sysrc a_b_enable=YES".into())
        );
        assert_eq!(place(Platform::Openrc, None).0, "/etc/init.d/pm2");
        assert_eq!(
            place(Platform::Launchd, None).0,
            "/home/www/Library/LaunchAgents/pm2.www.plist"
        );
    }

    #[test]
    fn names_that_break_out_are_refused() {
        for bad in ["../x", "a b", "", "-x", "a\nb", "$(id)"] {
            let facts = Facts {
                service_name: Some(bad.into()),
                ..facts()
            };
            assert!(Plan::new(Platform::Systemd, &facts).is_err(), "{bad:?}");
        }
        let facts = Facts {
            path: "/a\nExecStart=/bin/evil".into(),
            ..facts()
        };
        assert!(Plan::new(Platform::Systemd, &facts).is_err());
    }

    #[test]
    fn the_unit_waits_for_the_network_and_quotes_what_needs_it() {
        let plan = Plan::new(
            Platform::Systemd,
            &Facts {
                wait_ip: true,
                ..facts()
            },
        )
        .unwrap();
        for line in [
            "After=network-online.target",
            "Environment=\"PATH=/usr/bin:/opt/it's\"",
            "ExecStart=\"/opt/my tools/pm2\" resurrect",
            "User=www",
        ] {
            assert!(plan.text.lines().any(|l| l == line), "{line}\n{}", plan.text);
        }
    }

    #[test]
    fn the_scripts_are_shell() {
        for platform in [Platform::Upstart, Platform::Systemv, Platform::Rcd] {
            let plan = Plan::new(platform, &facts()).unwrap();
            let checked = std::process::Command::new("/bin/sh")
                .args(["-n", "-c", &plan.text])
                .output()
                .unwrap();
            assert!(
                checked.status.success(),
                "{platform:?}: {}",
                String::from_utf8_lossy(&checked.stderr)
            );
        }
    }

    #[test]
    fn logrotate_names_all_files() {
        let text = logrotate("/home/w w/.pm2", "www", "staff");
        assert!(text.starts_with("/home/w\\ w/.pm2/pm2.log /home/w\\ w/.pm2/logs/*.log {"));
        assert!(text.contains("su www staff") && text.contains("copytruncate"));
    }
}
