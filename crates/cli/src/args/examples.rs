//! What people type, verb by verb: shown by `--help` and in the manual.

use super::Verb;

/// Lines behind the program's name; each is parsed by a test.
pub(crate) fn of(verb: Verb) -> &'static [&'static str] {
    match verb {
        Verb::Start => &[
            "start app.js --name api -i max",
            "start worker.py --max-memory-restart 300M",
            "start \"npm run serve\" --name web --watch src",
            "start ecosystem.config.js --only api --env production",
            "start app.js -- --port 8080",
        ],
        Verb::Stop => &["stop api", "stop 0 1", "stop /^worker-/", "stop all"],
        Verb::Restart => &["restart api --update-env", "restart ecosystem.config.js"],
        Verb::Reload => &["reload api", "reload all"],
        Verb::Delete => &["delete api", "delete all"],
        Verb::Scale => &["scale api 4", "scale api +2"],
        Verb::List => &["list --sort memory:desc", "list --watch", "list --json"],
        Verb::Describe => &["describe api", "describe 0 --json"],
        Verb::Logs => &["logs api --lines 100", "logs --err --json"],
        Verb::Flush => &["flush", "flush api"],
        Verb::Env => &["env 0"],
        Verb::Id => &["id api"],
        Verb::Pid => &["pid api"],
        Verb::SendSignal => &["sendSignal SIGUSR2 api"],
        Verb::Send => &["send 0 \"a line\""],
        Verb::Save => &["save", "save --force"],
        Verb::Set => &["set pm2-logrotate:max_size 10M", "set api:debug true"],
        Verb::Multiset => &["multiset \"api:a 1 api:b 2\""],
        Verb::Get => &["get", "get api:debug"],
        Verb::Unset => &["unset api:debug", "unset all"],
        Verb::Init => &["init", "init simple"],
        Verb::Startup => &[
            "startup",
            "startup systemd -u www --hp /home/www",
            "startup --dry-run",
        ],
        Verb::Unstartup => &["unstartup systemd"],
        Verb::Apply => &[
            "apply ecosystem.config.js --dry-run",
            "apply ecosystem.config.js --env production --yes",
        ],
        Verb::Validate => &["validate ecosystem.config.js", "validate apps.yaml --json"],
        Verb::Schema => &["schema"],
        Verb::Doctor => &["doctor", "doctor --json"],
        Verb::Link => &[
            "link <secret> <public> web-1 --info-node http://hub.example:8080",
            "link info",
            "link doctor",
        ],
        Verb::Completion => &["completion install", "completion fish"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::super::table::VERBS;
    use super::*;

    #[test]
    fn every_example_can_be_typed_and_is_of_its_verb() {
        for entry in VERBS {
            for line in of(entry.verb) {
                let typed =
                    parse(&pm2::units::split_words(line)).unwrap_or_else(|error| panic!("{line}: {error}"));
                assert_eq!(typed.verb, Some(entry.verb), "{line}");
            }
        }
    }
}
