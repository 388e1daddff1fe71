//! Waits until processes are ready: for `--wait`, and for what `depends_on` names.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use pm2::rpc::method;

use crate::args::Verb;
use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::process::{Process, TABLE_FIELDS, asked, parse_list};

/// Between two looks at the list.
const EVERY: Duration = Duration::from_millis(100);
const DEFAULT_LIMIT: Duration = Duration::from_secs(60);
/// Names that a line of progress has room for.
const NAMES: usize = 4;

/// How the processes that are waited for are doing.
#[derive(Debug, Default, PartialEq, Eq)]
struct Standing {
    ready: Vec<u32>,
    /// With what each lacks.
    pending: Vec<(u32, String)>,
    /// One that will not become ready, and why.
    failed: Option<String>,
}

/// What the list says of the processes with these ids.
fn judge(list: &[Process], ids: &BTreeSet<u32>) -> Standing {
    let mut standing = Standing::default();
    for id in ids {
        let Some(process) = list.iter().find(|process| process.pm_id == *id) else {
            standing.failed.get_or_insert(format!("process {id} was deleted"));
            continue;
        };
        let label = format!("{}({id})", process.name);
        match lack(process) {
            Ok(None) => standing.ready.push(*id),
            Ok(Some(lack)) => standing.pending.push((*id, format!("{label} {lack}"))),
            Err(reason) => {
                standing.failed.get_or_insert(format!("{label} {reason}"));
            }
        }
    }
    standing
}

/// What a process lacks to be ready; `Err`: it will not be.
fn lack(process: &Process) -> Result<Option<&'static str>, String> {
    let code = || {
        process
            .env
            .int("exit_code")
            .map_or(String::new(), |code| format!(", its last exit code is {code}"))
    };
    if let Some(error) = process.env.load_error() {
        return Err(format!("runs, but its main module could not be loaded: {error}"));
    }
    match (process.status(), process.readiness.as_deref()) {
        ("errored", _) => Err(format!("is errored{}", code())),
        // It is not meant to run yet.
        ("stopped", _) if process.env.flag("autostart") == Some(false) => Ok(None),
        ("stopped", _) => Err(format!("is stopped{}", code())),
        (_, Some("unhealthy")) => {
            let reason = process
                .health
                .as_ref()
                .and_then(|health| health.reason.as_deref());
            Err(format!(
                "is unhealthy: {}",
                reason.unwrap_or("its health check fails")
            ))
        }
        // A daemon that tells no readiness is PM2's own.
        (_, Some("ready")) | ("online", None) => Ok(None),
        ("online", _) if process.health.is_some() => Ok(Some("is not healthy yet")),
        ("online", _) if process.env.flag("wait_ready") == Some(true) => Ok(Some("has not said `ready`")),
        ("online", _) => Ok(Some("has only just started")),
        ("launching", _) => Ok(Some("is launching")),
        ("stopping", _) => Ok(Some("is stopping")),
        ("waiting restart", _) => Ok(Some("crashed and waits for its restart")),
        _ => Ok(Some("does not run")),
    }
}

/// A line such as `2 of 5 ready, 3 s: api(0) is launching, …`.
fn progress(standing: &Standing, elapsed: Duration) -> String {
    let total = standing.ready.len() + standing.pending.len();
    let mut text = format!(
        "{} of {total} ready after {} s: ",
        standing.ready.len(),
        elapsed.as_secs()
    );
    let named: Vec<_> = standing
        .pending
        .iter()
        .take(NAMES)
        .map(|(_, lack)| lack.as_str())
        .collect();
    text.push_str(&named.join(", "));
    if standing.pending.len() > NAMES {
        let _ = write!(text, ", and {} more", standing.pending.len() - NAMES);
    }
    text
}

/// `--wait-timeout`: `30` and `30s` are seconds, `500ms` and `2m` what they say.
fn limit(context: &Context<'_>) -> Result<Duration, Failure> {
    let Some(text) = context.typed.text("wait-timeout") else {
        return Ok(DEFAULT_LIMIT);
    };
    let millis = match text.strip_suffix("ms") {
        Some(digits) => digits.parse().ok(),
        None if text.ends_with(['s', 'm', 'h']) => pm2::units::parse_millis(text),
        None => text
            .parse::<u64>()
            .ok()
            .and_then(|seconds| seconds.checked_mul(1000)),
    };
    millis.map(Duration::from_millis).ok_or_else(|| {
        Failure::Error(format!(
            "--wait-timeout {text} is no time: 30 is seconds, 500ms and 2m are what they say"
        ))
    })
}

/// `--wait`: waits for everything that this run has started or restarted.
pub(crate) fn if_asked(context: &Context<'_>) -> Result<(), Failure> {
    let starts = matches!(
        context.typed.verb,
        Some(
            Verb::Start
                | Verb::Restart
                | Verb::Reload
                | Verb::StartOrRestart
                | Verb::StartOrReload
                | Verb::Resurrect
        )
    );
    let asked = context.typed.on("wait") || context.typed.text("wait-timeout").is_some();
    if !starts || !asked {
        return Ok(());
    }
    let ids = context.acted_on.borrow().clone();
    let mut client = context.client()?;
    until_ready(context, &mut client, &ids)
}

/// Waits until all are ready. The terminal shows how far it is; a file or pipe gets one line for each process.
pub(crate) fn until_ready(
    context: &Context<'_>,
    client: &mut Client,
    ids: &BTreeSet<u32>,
) -> Result<(), Failure> {
    let (console, limit) = (context.console, limit(context)?);
    let begun = Instant::now();
    let mut told = BTreeSet::new();
    let outcome = loop {
        let list = readiness_list(client)?;
        let standing = judge(&list, ids);
        for id in standing.ready.iter().filter(|id| told.insert(**id)) {
            let name = list
                .iter()
                .find(|process| process.pm_id == *id)
                .map_or("", |process| &process.name);
            console.clear_progress();
            console.info(format_args!("[{name}]({id}) ready"));
        }
        if let Some(reason) = standing.failed {
            break Err(format!("{reason}; `{} logs` may tell more", context.program));
        }
        if standing.pending.is_empty() {
            break Ok(());
        }
        let line = progress(&standing, begun.elapsed());
        if begun.elapsed() >= limit {
            break Err(format!("not ready in time, {line}"));
        }
        console.progress(&line);
        std::thread::sleep(EVERY);
    };
    console.clear_progress();
    outcome.map_err(Failure::Error)
}

/// Waits until every process with one of these names is ready: others depend on them.
pub(crate) fn until_names_ready(
    context: &Context<'_>,
    client: &mut Client,
    names: &BTreeSet<String>,
) -> Result<(), Failure> {
    if names.is_empty() {
        return Ok(());
    }
    let list = client.list(Some(&[]))?;
    let named = list.iter().filter(|process| names.contains(&process.name));
    let ids = named.map(|process| process.pm_id).collect();
    until_ready(context, client, &ids)
}

fn readiness_list(client: &mut Client) -> Result<Vec<Process>, Failure> {
    let mut keep = TABLE_FIELDS.to_vec();
    keep.extend(["autostart", "wait_ready", "exit_code"]);
    let mut wanted = asked(Some(&keep));
    wanted.insert("readiness".into(), true.into());
    let pending = client.begin(method::GET_MONITOR_DATA, &(wanted,))?;
    Ok(parse_list(&client.finish_raw(&pending)?, Some(&keep))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Health, sample};
    use serde_json::json;

    fn process(id: u32, status: &str, readiness: &str) -> Process {
        let mut process = sample(id, "api", json!({ "status": status, "exit_code": 3 }));
        process.readiness = (!readiness.is_empty()).then(|| readiness.to_owned());
        process
    }

    fn standing(list: &[Process]) -> Standing {
        let ids = list.iter().map(|process| process.pm_id).collect();
        judge(list, &ids)
    }

    #[test]
    fn all_must_be_ready() {
        let now = standing(&[
            process(0, "online", "ready"),
            process(1, "launching", "pending"),
            process(2, "online", "pending"),
            process(3, "waiting restart", "down"),
        ]);
        assert_eq!(
            (now.ready.as_slice(), now.pending.len(), &now.failed),
            (&[0][..], 3, &None)
        );
        let line = progress(&now, Duration::from_millis(2_900));
        assert_eq!(
            line,
            "1 of 4 ready after 2 s: api(1) is launching, api(2) has only just started, api(3) crashed and waits for its restart"
        );
        // PM2's own daemon tells no readiness.
        assert_eq!(standing(&[process(0, "online", "")]).ready, [0]);
    }

    #[test]
    fn what_will_not_be_ready_is_named_with_the_reason() {
        let failed = |process| standing(&[process]).failed.unwrap_or_default();
        assert_eq!(
            failed(process(0, "errored", "down")),
            "api(0) is errored, its last exit code is 3"
        );
        assert!(failed(process(0, "stopped", "down")).contains("is stopped"));
        let mut idle = process(0, "online", "pending");
        idle.env.set("load_error", "Error: no module");
        assert_eq!(
            failed(idle),
            "api(0) runs, but its main module could not be loaded: Error: no module"
        );
        let mut sick = process(0, "online", "unhealthy");
        sick.health = Some(Health {
            status: "unhealthy".into(),
            failures: 3,
            reason: Some("status 503".into()),
        });
        assert_eq!(failed(sick), "api(0) is unhealthy: status 503");
        assert!(
            judge(&[], &BTreeSet::from([7]))
                .failed
                .unwrap()
                .contains("deleted")
        );
    }

    #[test]
    fn what_is_not_to_start_by_itself_is_not_waited_for() {
        let mut idle = process(0, "stopped", "down");
        idle.env.set("autostart", false);
        assert_eq!(standing(&[idle]).ready, [0]);
    }
}
