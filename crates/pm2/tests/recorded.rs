//! Against what PM2 7.0.4 really sent: `fixtures/prepare.json` holds apps as they were written (as options or in a file) and
//! the argument of `prepare` that node's CLI made of them, with paths and environment brought to those of [`caller`].
//! The text is compared, so the order of the keys counts too.

use pm2::Object;
use pm2::home::Home;
use pm2::schema::{Caller, Host, Origin, User, check};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Case {
    file: bool,
    env_name: Option<String>,
    deploy: Option<Object>,
    raw: Object,
    resolved: Object,
}

/// The host on which the cases were recorded.
struct Recorded;

impl Host for Recorded {
    fn exists(&self, path: &Path) -> bool {
        [
            "/app/app.js",
            "/app/run.py",
            "/app/x.sh",
            "/app/tool",
            "/app/bin",
            "/bin/true",
            "/usr/bin/bash",
            "/usr/bin/node",
        ]
        .iter()
        .any(|file| Path::new(file) == path)
    }
    fn find_program(&self, name: &str) -> Option<PathBuf> {
        match name {
            "node" => Some("/usr/bin/node".into()),
            "bash" | "ls" | "python3" => Some(Path::new("/usr/bin").join(name)),
            _ => None,
        }
    }
    fn looks_binary(&self, path: &Path) -> bool {
        path == Path::new("/app/bin") || path.starts_with("/bin") || path.starts_with("/usr/bin")
    }
    fn node_version(&self) -> Option<(u32, u32)> {
        Some((20, 20))
    }
    fn user(&self, name: &str) -> Option<User> {
        (name == "0").then(|| User {
            uid: 0,
            gid: 0,
            home: "/root".into(),
        })
    }
    fn group(&self, _: &str) -> Option<u32> {
        None
    }
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

fn caller() -> Caller {
    Caller {
        cwd: "/app".into(),
        env: object(json!({
            "PATH": "/usr/local/bin:/usr/bin:/bin", "PM2_HOME": "/h", "HOME": "/root", "SECRET_X": "1", "NO_COLOR": "1",
            "PM2_USAGE": "CLI",
        })),
        username: "root".into(),
        user_home: "/root".into(),
        is_root: true,
        home: Home::at(Path::new("/h"), |_| None),
        km_link: false,
        module_conf: Object::new(),
    }
}

#[test]
fn apps_are_resolved_as_pm2_does() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("fixtures/prepare.json")).unwrap();
    assert!(cases.len() >= 28);
    let mut wrong = Vec::new();
    for case in cases {
        let origin = if case.file {
            Origin::File {
                env_name: case.env_name.as_deref(),
                deploy: case.deploy.as_ref(),
            }
        } else {
            Origin::Options
        };
        let written = Value::Object(case.raw.clone()).to_string();
        let ours = check(case.raw, &caller(), &Recorded)
            .and_then(|checked| checked.resolve(&caller(), &Recorded, &origin));
        let ours = ours.map_or_else(|e| format!("refused: {e}"), |r| Value::Object(r.app).to_string());
        let theirs = Value::Object(case.resolved).to_string();
        if ours != theirs {
            wrong.push(format!("{written}\n  ours   {ours}\n  theirs {theirs}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
