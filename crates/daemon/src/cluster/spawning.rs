//! What a process needs to be a cluster worker.

use std::ffi::OsString;
use std::path::Path;

use node::cluster::{Policy, SCHEDULING_POLICY, UNIQUE_ID};
use node::release::Takes;
use pm2::env::{ExecMode, Pm2Env};

use super::Cluster;
use crate::preload::{Preload, can_preload};

/// Node's own, where no other port is said.
const INSPECTOR_PORT: u16 = 9229;
/// What is added to a command line and an environment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkerParts {
    /// Arguments of the interpreter.
    pub(crate) args: Vec<OsString>,
    /// Variables.
    pub(crate) vars: Vec<OsString>,
}

impl WorkerParts {
    /// What makes a life of this app a worker; nothing for an app that runs in fork mode.
    pub(crate) fn of(env: &Pm2Env, takes: Takes, cluster: &mut Cluster, preload: &Preload) -> Self {
        if env.exec_mode() != ExecMode::Cluster {
            return Self::default();
        }
        let number = cluster.primary.take_number();
        // Without it a worker serves all the same.
        let script = (takes.scripts && can_preload(env))
            .then(|| preload.worker(env))
            .flatten();
        parts(env, number, script.as_deref())
    }
}

fn parts(env: &Pm2Env, number: u64, preload: Option<&Path>) -> WorkerParts {
    let mut args = Vec::new();
    if let Some(preload) = preload {
        args.push("--require".into());
        args.push(preload.into());
    }
    if let Some(base) = inspector_port(&env.command_line().interpreter_args) {
        // One port for all: only the first could be debugged.
        let offset = u16::try_from(number % 10_000).unwrap_or(0);
        args.push(format!("--inspect-port={}", base.saturating_add(offset)).into());
    }
    WorkerParts {
        args,
        vars: vec![format!("{UNIQUE_ID}={number}").into()],
    }
}

/// The port that the inspector is asked for, if it is.
fn inspector_port(args: &[String]) -> Option<u16> {
    let asked = args
        .iter()
        .find(|arg| arg.starts_with("--inspect") || arg.starts_with("--debug-port"))?;
    let value = asked
        .split_once('=')
        .map(|(_, value)| value.rsplit(':').next().unwrap_or(value));
    Some(
        value
            .and_then(|port| port.parse().ok())
            .filter(|port| *port > 0)
            .unwrap_or(INSPECTOR_PORT),
    )
}

/// How the connections of an app reach its workers.
pub(super) fn policy_of(env: &Pm2Env) -> Policy {
    Policy::from_variable(env.text(SCHEDULING_POLICY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn env(value: serde_json::Value) -> Pm2Env {
        match value {
            serde_json::Value::Object(map) => Pm2Env::from(map),
            other => panic!("not an object: {other}"),
        }
    }

    #[test]
    fn each_worker_has_its_own_inspector() {
        for (args, port) in [
            (vec!["--inspect"], Some(9229)),
            (vec!["--harmony", "--inspect-brk=0.0.0.0:9300"], Some(9300)),
            (vec!["--inspect=9400"], Some(9400)),
            (vec!["--harmony"], None),
        ] {
            let args: Vec<_> = args.into_iter().map(String::from).collect();
            assert_eq!(inspector_port(&args), port, "{args:?}");
        }
        let env =
            env(json!({ "exec_interpreter": "node", "node_args": ["--inspect"], "pm_exec_path": "/a.js" }));
        let parts = parts(&env, 3, Some(Path::new("/p.cjs")));
        assert_eq!(parts.args, ["--require", "/p.cjs", "--inspect-port=9232"]);
        assert_eq!(parts.vars, ["NODE_UNIQUE_ID=3"]);
    }

    #[test]
    fn the_policy_is_nodes_own_variable() {
        assert_eq!(policy_of(&env(json!({}))), Policy::RoundRobin);
        assert_eq!(
            policy_of(&env(json!({ "NODE_CLUSTER_SCHED_POLICY": "none" }))),
            Policy::Shared
        );
    }
}
