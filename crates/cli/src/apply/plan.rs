//! Which steps make the list equal to a file.

use super::difference::{Difference, Need, differences};
use crate::process::Process;
use pm2::Object;

/// An app as the file wants it.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    pub(crate) name: String,
    /// Resolved: what `prepare` would take.
    pub(crate) app: Object,
    /// The variables that the file itself names.
    pub(crate) variables: Vec<String>,
    /// Number of processes.
    pub(crate) instances: usize,
}

/// What is done with the processes of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Nothing,
    Start,
    /// Restart or reload with the new values.
    Restart,
    /// Delete and start anew.
    Replace,
    Delete,
}

/// One line of the plan.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) name: String,
    pub(crate) step: Step,
    /// The processes of this name, by id.
    pub(crate) ids: Vec<u32>,
    /// Those of them that should run and do not.
    pub(crate) down: Vec<u32>,
    /// How many there are, and how many there should be.
    pub(crate) instances: (usize, usize),
    pub(crate) differences: Vec<Difference>,
}

impl Change {
    /// Nothing is to be done.
    pub(crate) fn is_nothing(&self) -> bool {
        self.step == Step::Nothing && self.instances.0 == self.instances.1
    }
}

/// Compares. Processes of names that are not wanted are deleted if `exclusive`; modules never are.
pub(crate) fn plan(desired: &[Desired], list: &[Process], exclusive: bool) -> Vec<Change> {
    let mut out: Vec<Change> = desired.iter().map(|app| one(app, list)).collect();
    if exclusive {
        let mut names: Vec<&str> = list
            .iter()
            .filter(|p| !p.is_module() && !desired.iter().any(|app| app.name == p.name))
            .map(|p| p.name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        out.extend(names.into_iter().map(|name| {
            let ids = ids(list, name);
            Change {
                name: name.to_owned(),
                step: Step::Delete,
                instances: (ids.len(), 0),
                ids,
                down: Vec::new(),
                differences: Vec::new(),
            }
        }));
    }
    out
}

fn ids(list: &[Process], name: &str) -> Vec<u32> {
    let mut ids: Vec<u32> = list.iter().filter(|p| p.name == name).map(|p| p.pm_id).collect();
    ids.sort_unstable();
    ids
}

fn one(app: &Desired, list: &[Process]) -> Change {
    let ids = ids(list, &app.name);
    let present: Vec<&Process> = list.iter().filter(|p| p.name == app.name).collect();
    let autostart = app.app.get("autostart") != Some(&serde_json::Value::Bool(false));
    let mut found: Vec<Difference> = Vec::new();
    for process in &present {
        for difference in differences(app, process) {
            if !found.iter().any(|known| known.attribute == difference.attribute) {
                found.push(difference);
            }
        }
    }
    let down: Vec<u32> = present
        .iter()
        .filter(|p| autostart && matches!(p.status(), "stopped" | "errored"))
        .map(|p| p.pm_id)
        .collect();
    let need = found.iter().map(|difference| difference.need).max();
    let step = match need {
        _ if present.is_empty() => Step::Start,
        Some(Need::Replace) => Step::Replace,
        Some(Need::Restart) => Step::Restart,
        None if !down.is_empty() => Step::Restart,
        None => Step::Nothing,
    };
    Change {
        name: app.name.clone(),
        step,
        instances: (ids.len(), app.instances),
        ids,
        down,
        differences: found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::sample;
    use serde_json::{Value, json};

    fn desired(name: &str, instances: usize, app: Value, variables: &[&str]) -> Desired {
        let Value::Object(app) = app else {
            panic!("an object")
        };
        Desired {
            name: name.into(),
            app,
            variables: variables.iter().map(|v| (*v).to_owned()).collect(),
            instances,
        }
    }

    fn told(desired: &[Desired], list: &[Process]) -> Vec<String> {
        plan(desired, list, true)
            .iter()
            .map(|change| {
                let differences: Vec<&str> =
                    change.differences.iter().map(|d| d.attribute.as_str()).collect();
                format!(
                    "{} {:?} {}>{} {}",
                    change.name,
                    change.step,
                    change.instances.0,
                    change.instances.1,
                    differences.join(",")
                )
            })
            .collect()
    }

    #[test]
    fn each_step_has_its_reason() {
        let online = |id, name, mut env: Value| {
            env["status"] = "online".into();
            sample(id, name, env)
        };
        let list = [
            online(
                0,
                "same",
                json!({ "pm_exec_path": "/a", "watch": false, "env": { "A": "1", "HOME": "/x" }, "args": ["x"] }),
            ),
            online(1, "changed", json!({ "pm_exec_path": "/a", "kill_timeout": 5 })),
            online(2, "moved", json!({ "pm_exec_path": "/old" })),
            online(
                3,
                "poorer",
                json!({ "pm_exec_path": "/a", "cron_restart": "* * * * *" }),
            ),
            online(
                4,
                "variable",
                json!({ "pm_exec_path": "/a", "env": { "A": "1" } }),
            ),
            online(5, "fewer", json!({ "pm_exec_path": "/a" })),
            online(6, "fewer", json!({ "pm_exec_path": "/a" })),
            sample(
                7,
                "down",
                json!({ "pm_exec_path": "/a", "status": "stopped", "watch": false }),
            ),
            online(8, "stranger", json!({})),
            online(9, "module", json!({ "pmx_module": true })),
        ];
        let wanted = [
            desired(
                "same",
                1,
                json!({ "pm_exec_path": "/a", "watch": false, "env": { "A": 1 }, "args": ["x"], "port": 80 }),
                &["A"],
            ),
            desired(
                "changed",
                1,
                json!({ "pm_exec_path": "/a", "kill_timeout": 6 }),
                &[],
            ),
            desired("moved", 1, json!({ "pm_exec_path": "/new" }), &[]),
            desired("poorer", 1, json!({ "pm_exec_path": "/a" }), &[]),
            desired(
                "variable",
                1,
                json!({ "pm_exec_path": "/a", "env": { "A": "2" } }),
                &["A"],
            ),
            desired("fewer", 1, json!({ "pm_exec_path": "/a" }), &[]),
            desired("down", 1, json!({ "pm_exec_path": "/a", "watch": true }), &[]),
            desired("new", 3, json!({ "pm_exec_path": "/a" }), &[]),
        ];
        assert_eq!(
            told(&wanted, &list),
            [
                "same Nothing 1>1 ",
                "changed Restart 1>1 kill_timeout",
                "moved Replace 1>1 pm_exec_path",
                "poorer Replace 1>1 cron_restart",
                "variable Restart 1>1 env.A",
                "fewer Nothing 2>1 ",
                "down Restart 1>1 ",
                "new Start 0>3 ",
                "stranger Delete 1>0 ",
            ]
        );
        assert!(plan(&wanted[..1], &list, false).iter().all(Change::is_nothing));
        let values = &plan(&wanted[4..5], &list, false)[0].differences[0];
        assert!(
            values.before.is_null() && values.after.is_null(),
            "variables may be secrets"
        );
    }

    #[test]
    fn files_with_the_id_in_their_names_are_the_same() {
        let process =
            |id, path: &str| sample(id, "a", json!({ "status": "online", "pm_out_log_path": path }));
        let app = |path: &str| desired("a", 1, json!({ "pm_out_log_path": path }), &[]);
        for (asked, actual, same) in [
            ("/l/a-out.log", "/l/a-out.log", true),
            ("/l/a-out.log", "/l/a-out-3.log", true),
            ("/l/a-out-0.log", "/l/a-out-3.log", true),
            ("/l/a-out.log", "/l/a-out-4.log", false),
            ("/l/b-out.log", "/l/a-out-3.log", false),
        ] {
            let change = &plan(&[app(asked)], &[process(3, actual)], true)[0];
            assert_eq!(change.step == Step::Nothing, same, "{asked} {actual}");
        }
    }
}
