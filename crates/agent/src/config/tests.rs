use super::*;

fn args(secret: &str, public: &str, name: &str, root: &str) -> LinkArgs {
    let some = |s: &str| (!s.is_empty()).then(|| s.to_owned());
    LinkArgs {
        secret: some(secret),
        public: some(public),
        name: some(name),
        info_node: some(root),
    }
}

fn env(pairs: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
    move |name| {
        pairs
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| (*v).to_owned())
    }
}

fn saved() -> AgentFile {
    AgentFile {
        public_key: "savedpub".into(),
        secret_key: "savedsec".into(),
        machine_name: "savedname".into(),
        info_node: "http://saved:1".into(),
        reverse_interact: true,
        ..AgentFile::default()
    }
}

#[test]
fn environment_beats_arguments_beat_the_file_beats_the_host() {
    let all = env(&[
        ("PM2_PUBLIC_KEY", "envpub"),
        ("KEYMETRICS_PUBLIC", "oldpub"),
        ("KEYMETRICS_SECRET", "oldsec"),
        ("INSTANCE_NAME", "envname"),
        ("KEYMETRICS_NODE", "http://env:1/"),
    ]);
    let got = resolve(all, &args("s", "p", "n", "arg:1"), Some(&saved()), "host").unwrap();
    assert_eq!(
        (got.settings.public_key.as_str(), got.public_from),
        ("envpub", Origin::Env("PM2_PUBLIC_KEY"))
    );
    assert_eq!(
        (got.settings.secret_key.as_str(), got.secret_from),
        ("oldsec", Origin::Env("KEYMETRICS_SECRET"))
    );
    assert_eq!(
        (got.settings.machine_name.as_str(), got.name_from),
        ("envname", Origin::Env("INSTANCE_NAME"))
    );
    assert_eq!(
        (got.settings.root.as_str(), got.root_from),
        ("http://env:1", Origin::Env("KEYMETRICS_NODE"))
    );

    let got = resolve(
        env(&[]),
        &args("s", "p", "n", "arg:1/base"),
        Some(&saved()),
        "host",
    )
    .unwrap();
    assert_eq!(
        (got.settings.secret_key.as_str(), got.secret_from),
        ("s", Origin::Argument)
    );
    assert_eq!(
        (got.settings.root.as_str(), got.root_from),
        ("https://arg:1/base", Origin::Argument)
    );

    let got = resolve(
        env(&[("HOSTNAME", "shell")]),
        &LinkArgs::default(),
        Some(&saved()),
        "host",
    )
    .unwrap();
    assert_eq!(
        (got.settings.machine_name.as_str(), got.name_from),
        ("savedname", Origin::Saved)
    );
    assert_eq!(got.settings.root, "http://saved:1");

    let got = resolve(
        env(&[("HOSTNAME", "shell")]),
        &args("s", "p", "", "h"),
        None,
        "host",
    )
    .unwrap();
    assert_eq!(
        (got.settings.machine_name.as_str(), got.name_from),
        ("shell", Origin::Hostname)
    );
    let got = resolve(env(&[]), &args("s", "p", "", "h"), None, "host").unwrap();
    assert_eq!(got.settings.machine_name, "host");
}

#[test]
fn an_empty_variable_counts_as_none() {
    let got = resolve(
        env(&[("PM2_PUBLIC_KEY", ""), ("KEYMETRICS_NODE", "")]),
        &args("s", "p", "n", "h"),
        None,
        "host",
    );
    assert_eq!(got.unwrap().public_from, Origin::Argument);
}

#[test]
fn what_is_missing_is_named() {
    let missing = |args| resolve(env(&[]), &args, None, "host").unwrap_err();
    assert_eq!(missing(args("", "p", "", "h")), ResolveError::NoSecretKey);
    assert_eq!(missing(args("s", "", "", "h")), ResolveError::NoPublicKey);
    assert_eq!(missing(args("s", "p", "", "")), ResolveError::NoHub);
    assert_eq!(
        missing(args("s\r\nX: y", "p", "", "h")),
        ResolveError::BadKey("secret")
    );
}

#[test]
fn remote_actions_can_be_switched_off_at_link_time() {
    let off = env(&[("PM2_REVERSE_INTERACT", "false")]);
    assert!(
        !resolve(off, &args("s", "p", "n", "h"), Some(&saved()), "host")
            .unwrap()
            .settings
            .reverse
    );
    assert!(
        resolve(env(&[]), &args("s", "p", "n", "h"), Some(&saved()), "host")
            .unwrap()
            .settings
            .reverse
    );
}

#[test]
fn addresses_of_hubs() {
    for (root, url) in [
        ("http://h:80", "ws://h:80/interaction/wire"),
        ("https://h/base/", "wss://h/base/interaction/wire"),
        ("wss://[::1]:9", "wss://[::1]:9/interaction/wire"),
    ] {
        assert_eq!(websocket_url(root).unwrap(), url);
    }
    for wrong in [
        "",
        "ftp://h",
        "http://",
        "http://user:pass@h",
        "http://h?x=1",
        "http://h h",
    ] {
        assert!(normal_root(wrong).is_err(), "{wrong}");
    }
    assert_eq!(
        normal_root("hub.example:9000/").unwrap(),
        "https://hub.example:9000"
    );
}

#[test]
fn the_file_is_pm2s_in_content_and_look() {
    let home = tempfile::tempdir().unwrap();
    let settings = LinkSettings {
        public_key: "pub".into(),
        secret_key: "sec".into(),
        machine_name: "web-1".into(),
        root: "http://h:1".into(),
        proxy: None,
        proxy_address: String::new(),
        reverse: true,
        ports: PortSettings::default(),
    };
    save(home.path(), &to_file(&settings, "7.0.4", None)).unwrap();
    let text = std::fs::read_to_string(path(home.path())).unwrap();
    let expected = r#"{
    "version_management": {
        "active": true
    },
    "public_key": "pub",
    "secret_key": "sec",
    "machine_name": "web-1",
    "pm2_version": "7.0.4",
    "reverse_interact": true,
    "info_node": "http://h:1"
}"#;
    assert_eq!(text, expected);
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(
        std::fs::metadata(path(home.path())).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        load(home.path()).unwrap().unwrap(),
        to_file(&settings, "7.0.4", None)
    );
}

#[test]
fn a_file_with_comments_and_foreign_fields_is_read_and_keeps_them() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(
        path(home.path()),
        "{ // mine\n public_key: 'p', secret_key: 's', proxy: 'x', }",
    )
    .unwrap();
    let file = load(home.path()).unwrap().unwrap();
    assert_eq!((file.public_key.as_str(), file.reverse_interact), ("p", true));
    save(home.path(), &file).unwrap();
    assert!(
        std::fs::read_to_string(path(home.path()))
            .unwrap()
            .contains("\"proxy\": \"x\"")
    );
}

#[test]
fn a_malformed_file_is_told_by_its_place_and_without_its_content() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(path(home.path()), "{\n \"secret_key\": \"verysecret\" nonsense }").unwrap();
    let message = load(home.path()).unwrap_err().to_string();
    assert!(
        message.contains("line 2") && !message.contains("verysecret"),
        "{message}"
    );
    assert!(load(tempfile::tempdir().unwrap().path()).unwrap().is_none());
}

#[test]
fn deleting_twice_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    save(home.path(), &saved()).unwrap();
    delete(home.path()).unwrap();
    delete(home.path()).unwrap();
    assert!(load(home.path()).unwrap().is_none());
}

#[test]
fn secrets_are_masked_wherever_settings_are_shown() {
    assert_eq!(mask("abcdefghijklmno"), "abc********");
    assert_eq!(mask("short"), "********");
    let got = resolve(env(&[]), &args("topsecretkey9", "p", "n", "h"), None, "host").unwrap();
    assert!(!format!("{got:?}").contains("topsecretkey9"));
}
