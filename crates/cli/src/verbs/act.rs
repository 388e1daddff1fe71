//! stop, restart, delete: one action on the processes of each target.

use super::Then;
use crate::client::Client;
use crate::console::Console;
use crate::context::{Context, var};
use crate::failure::Failure;
use crate::process::Process;
use crate::start::order::{Needs, steps};
use crate::start::{Action, Source, act_on_file, config_source, restart_environment};
use crate::targets::{number, resolve};
use crate::waiting::until_names_ready;
use pm2::inspect::{Options, inspect};
use pm2::rpc::method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(crate) fn stop(context: &Context<'_>) -> Result<Then, Failure> {
    each_target(context, Action::Stop)
}

pub(crate) fn restart(context: &Context<'_>) -> Result<Then, Failure> {
    each_target(context, Action::Restart)
}

pub(crate) fn delete(context: &Context<'_>) -> Result<Then, Failure> {
    each_target(context, Action::Delete)
}

fn each_target(context: &Context<'_>, action: Action) -> Result<Then, Failure> {
    let mut client = context.client()?;
    for target in &context.typed.operands {
        match config_source(target) {
            Some(source) => on_file(context, &mut client, action, &source)?,
            None => on_target(context, &mut client, action, target)?,
        }
    }
    Ok(Then::List)
}

fn on_file(
    context: &Context<'_>,
    client: &mut Client,
    action: Action,
    source: &Source,
) -> Result<(), Failure> {
    act_on_file(context, client, action, source)
}

/// Acts on what one target names.
pub(crate) fn on_target(
    context: &Context<'_>,
    client: &mut Client,
    action: Action,
    target: &str,
) -> Result<(), Failure> {
    let list = client.table_list()?;
    let brings_options = matches!(action, Action::Restart | Action::Reload);
    if brings_options {
        if context.typed.text("env").is_some() {
            return Err(Failure::Error(
                "Using --env [env] without passing the ecosystem.config.js does not work".into(),
            ));
        }
        if !context.typed.on("update-env") {
            let brush = context.console.brush;
            context
                .console
                .say(brush.bold(brush.blue("Use --update-env to update environment variables")));
        }
    }
    let ids = resolve(&list, target, &context.as_script(target))?;
    // Names and namespaces go before ids, also those that are numbers.
    let is_name = |p: &Process| p.name == target || (p.env.namespace() == target && !p.is_module());
    let typed_as_id = number(target).is_some() && !list.iter().any(is_name);
    announce(context.console, action, target, &ids, typed_as_id);
    let name = if typed_as_id {
        names_of(&list, &ids)
    } else {
        target.to_owned()
    };
    let mut env = if brings_options {
        Some(restart_environment(context, &name)?)
    } else {
        None
    };
    if action == Action::Restart
        && toggles_watch(context)
        && let Some(Value::Object(conf)) = env.as_mut().and_then(|env| env.get_mut("current_conf"))
    {
        // The daemon turns it round; what was typed must not turn it back.
        conf.shift_remove("watch");
    }
    let jobs = ids
        .iter()
        .map(|id| Job {
            id: *id,
            env: env.clone(),
            as_text: typed_as_id,
        })
        .collect();
    run(context, client, action, &list, jobs)
}

fn names_of(list: &[Process], ids: &[u32]) -> String {
    let named = list.iter().find(|p| ids.contains(&p.pm_id));
    named.map(|p| p.name.clone()).unwrap_or_default()
}

/// `Applying action … on app [x](ids: [ 0, 1 ])`. Ids that were typed are shown as text, as PM2 does.
pub(crate) fn announce(console: &Console, action: Action, target: &str, ids: &[u32], typed_as_id: bool) {
    let ids: Vec<Value> = ids
        .iter()
        .map(|id| {
            if typed_as_id {
                json!(id.to_string())
            } else {
                json!(id)
            }
        })
        .collect();
    let ids = inspect(&Value::Array(ids), Options::CONSOLE);
    console.info(format_args!(
        "Applying action {} on app [{target}](ids: {ids})",
        action.method()
    ));
}

/// One process to act on.
pub(crate) struct Job {
    pub(crate) id: u32,
    /// What a restart brings along.
    pub(crate) env: Option<pm2::Object>,
    /// The id goes over the wire as text, as node's client sends what was typed.
    pub(crate) as_text: bool,
}

/// Runs an action on many processes, some at a time, and tells of each: what others depend on is started before them, and stopped
/// after them.
pub(crate) fn run(
    context: &Context<'_>,
    client: &mut Client,
    action: Action,
    list: &[Process],
    jobs: Vec<Job>,
) -> Result<(), Failure> {
    let at_once = match action {
        Action::Delete => 10,
        _ if jobs.len() <= 2 => 1,
        _ => at_once(context),
    };
    run_at_once(context, client, action, list, jobs, at_once)
}

/// The same, with so many at a time.
pub(crate) fn run_at_once(
    context: &Context<'_>,
    client: &mut Client,
    action: Action,
    list: &[Process],
    jobs: Vec<Job>,
    at_once: usize,
) -> Result<(), Failure> {
    let needs: Vec<Needs> = jobs
        .iter()
        .map(|job| {
            let process = list.iter().find(|process| process.pm_id == job.id);
            process.map_or_else(Needs::default, |process| {
                Needs::of(&process.name, &process.env.to_object())
            })
        })
        .collect();
    // What was started cannot be in a circle; if somebody else made one, there is no order to keep.
    let mut order = steps(&needs, |_| true).unwrap_or_else(|_| vec![(0..jobs.len()).collect()]);
    let starts = matches!(action, Action::Restart | Action::Reload);
    if !starts {
        order.reverse();
    }
    let mut jobs: Vec<Option<Job>> = jobs.into_iter().map(Some).collect();
    let mut started = BTreeSet::new();
    for step in order {
        if starts {
            let needed = step.iter().flat_map(|&at| &needs[at].on);
            let needed = needed.filter(|name| started.contains(*name)).cloned().collect();
            until_names_ready(context, client, &needed)?;
            started.extend(step.iter().map(|&at| needs[at].name.clone()));
        }
        let step = step.into_iter().filter_map(|at| jobs[at].take()).collect();
        side_by_side(context, client, action, list, step, at_once)?;
    }
    Ok(())
}

fn side_by_side(
    context: &Context<'_>,
    client: &mut Client,
    action: Action,
    list: &[Process],
    jobs: Vec<Job>,
    at_once: usize,
) -> Result<(), Failure> {
    let console = context.console;
    let mut args = Vec::with_capacity(jobs.len());
    for job in &jobs {
        let id = if job.as_text {
            json!(job.id.to_string())
        } else {
            json!(job.id)
        };
        match action {
            // Without this a watcher would start the process again.
            Action::Stop | Action::Delete => client.tell(method::STOP_WATCH, &(action.method(), &id))?,
            Action::Restart if toggles_watch(context) => {
                client.tell(method::TOGGLE_WATCH, &(action.method(), json!({ "id": id })))?;
            }
            Action::Restart | Action::Reload => {}
        }
        args.push(match &job.env {
            Some(env) => vec![json!({ "id": id, "env": env })],
            None => vec![id],
        });
    }
    let done = client.act_on_each(action.method(), args, at_once, |client, at, result| {
        let answer = result?;
        let id = jobs[at].id;
        context.acted_on.borrow_mut().insert(id);
        let known = list.iter().find(|p| p.pm_id == id);
        // It may have a new one.
        let name = name_in(&answer.to_value())
            .or_else(|| known.map(|p| p.name.clone()))
            .unwrap_or_default();
        console.info(format_args!("[{name}]({id}) ✓"));
        console.flush();
        if action == Action::Stop
            && let Some(cron) = known.and_then(|p| p.env.cron_restart())
        {
            console.notice(format_args!(
                "App {name} stopped but CRON RESTART is still UP {cron}"
            ));
        }
        let event = json!({ "id": id, "action_name": action.event(), "manually": true });
        client.tell(method::NOTIFY_BY_PROCESS_ID, &(event,))
    });
    done.map_err(Failure::Call)
}

/// `restart --watch` turns watching on or off; in a configuration file the file says what holds.
fn toggles_watch(context: &Context<'_>) -> bool {
    context.typed.on("watch")
        && context.typed.texts("watch").is_empty()
        && context
            .typed
            .operands
            .iter()
            .all(|target| config_source(target).is_none())
}

fn name_in(answer: &Value) -> Option<String> {
    let name = answer
        .get("name")
        .or_else(|| answer.get("pm2_env").and_then(|env| env.get("name")));
    name.and_then(Value::as_str).map(str::to_owned)
}

/// How many actions may be under way, as asked for.
pub(crate) fn asked_at_once(context: &Context<'_>) -> Option<usize> {
    let asked = context
        .typed
        .text("parallel")
        .map(str::to_owned)
        .or_else(|| var("PM2_CONCURRENT_ACTIONS"));
    asked.and_then(|n| n.parse().ok()).filter(|n| *n > 0)
}

/// How many actions are under way: as asked for, or two.
pub(crate) fn at_once(context: &Context<'_>) -> usize {
    asked_at_once(context).unwrap_or(2)
}
