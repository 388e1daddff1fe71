//! A host made of tables, for tests.

use super::{Caller, Host, User};
use crate::Object;
use crate::home::Home;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

pub(crate) struct FakeHost {
    pub(crate) files: Vec<&'static str>,
    pub(crate) binaries: Vec<&'static str>,
    pub(crate) programs: Vec<(&'static str, &'static str)>,
    pub(crate) node: Option<(u32, u32)>,
}

impl Default for FakeHost {
    fn default() -> Self {
        FakeHost {
            files: vec![
                "/app/app.js",
                "/app/run.py",
                "/app/main.ts",
                "/app/tool",
                "/app/bin",
                "/app/x.sh",
                "/usr/bin/ls",
            ],
            binaries: vec!["/app/bin", "/usr/bin/ls", "/usr/bin/bash"],
            programs: vec![
                ("node", "/usr/bin/node"),
                ("bash", "/usr/bin/bash"),
                ("python3", "/usr/bin/python3"),
                ("ls", "/usr/bin/ls"),
            ],
            node: Some((20, 20)),
        }
    }
}

impl Host for FakeHost {
    fn exists(&self, path: &Path) -> bool {
        self.files.iter().any(|f| Path::new(f) == path)
            || self.programs.iter().any(|(_, f)| Path::new(f) == path)
    }
    fn find_program(&self, name: &str) -> Option<PathBuf> {
        self.programs
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, p)| PathBuf::from(p))
    }
    fn looks_binary(&self, path: &Path) -> bool {
        self.binaries.iter().any(|f| Path::new(f) == path)
    }
    fn node_version(&self) -> Option<(u32, u32)> {
        self.node
    }
    fn user(&self, name: &str) -> Option<User> {
        (name == "bob").then(|| User {
            uid: 1001,
            gid: 1002,
            home: "/home/bob".into(),
        })
    }
    fn group(&self, name: &str) -> Option<u32> {
        (name == "staff").then_some(50)
    }
}

pub(crate) fn object(value: Value) -> Object {
    let Value::Object(map) = value else {
        panic!("not an object: {value}")
    };
    map
}

pub(crate) fn caller() -> Caller {
    Caller {
        cwd: PathBuf::from("/app"),
        env: object(
            json!({ "PATH": "/usr/bin", "PM2_HOME": "/h", "HOME": "/root", "SECRET_X": "1", "PM2_USAGE": "CLI" }),
        ),
        username: "root".into(),
        user_home: PathBuf::from("/root"),
        is_root: true,
        home: Home::at(Path::new("/h"), |_| None),
        km_link: false,
        module_conf: Object::new(),
    }
}
