//! `apply`: makes the process list equal to a file, after showing what that means.

use super::act::{Job, run};
use super::{Then, scale};
use crate::apply::{Change, Desired, Difference, Step, plan};
use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::process::Process;
use crate::start::order::{Needs, steps};
use crate::start::{
    Action, Machine, Source, again, checked, chosen, config_source, launch, load, misordered,
};
use crate::waiting::until_names_ready;
use pm2::schema::{Caller, Checked, Origin};
use serde_json::{Value, json};
use std::io::BufRead as _;

pub(crate) fn apply(context: &Context<'_>) -> Result<Then, Failure> {
    let target = &context.typed.operands[0];
    let source = config_source(target).unwrap_or_else(|| Source::File(target.clone()));
    let loaded = load(&source)?;
    let caller = context.caller();
    let origin = Origin::File {
        env_name: context.typed.text("env"),
        deploy: loaded.deploy.as_ref(),
    };
    let mut apps: Vec<Checked> = Vec::new();
    let mut desired: Vec<Desired> = Vec::new();
    for raw in chosen(context, &loaded.apps) {
        let app = checked(context, raw, &caller)?;
        if desired.iter().any(|known| known.name == app.name()) {
            return Err(Failure::Error(format!(
                "{target} has two apps called {}: apply tells apps by their names",
                app.name()
            )));
        }
        desired.push(wish(&app, &caller, &origin)?);
        apps.push(app);
    }
    // A part of a file says nothing about the rest of the list.
    let exclusive = context.typed.text("only").is_none() && !context.typed.on("keep-others");
    let mut client = context.client()?;
    let list = client.list(None)?;
    let needs: Vec<Needs> = apps
        .iter()
        .map(|app| Needs::of(app.name(), app.as_object()))
        .collect();
    // What is about to be deleted can't be waited for.
    let order = steps(&needs, |name| !exclusive && list.iter().any(|p| p.name == name))
        .map_err(|error| Failure::Error(misordered(&loaded, &error).to_string()))?;
    let changes = plan(&desired, &list, exclusive);
    let pending = changes.iter().any(|change| !change.is_nothing());
    let json = context.typed.on("json");
    let dry = context.typed.on("dry-run");
    if !json {
        show(context, &changes);
    }
    let go = pending && !dry && agreed(context)?;
    if go {
        for app in &apps {
            // Without the packages an app is not traced, and says so itself.
            crate::otel::provide(context, &mut app.as_object().clone());
        }
        let wanted = Wanted {
            apps: &apps,
            needs: &needs,
            order: &order,
            caller: &caller,
            origin: &origin,
        };
        carry_out(context, &mut client, &changes, &wanted)?;
    }
    if json {
        let list: Vec<Value> = changes.iter().map(as_json).collect();
        let report = json!({ "file": target, "applied": go, "changes": list });
        context.console.put(format_args!("{report:#}\n"));
    }
    Ok(if go && !json { Then::List } else { Then::Done })
}

fn wish(app: &Checked, caller: &Caller, origin: &Origin<'_>) -> Result<Desired, Failure> {
    let resolved = app.resolve(caller, &Machine, origin)?.app;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as i64;
    let instances = match resolved.get("instances").and_then(pm2::js::as_int) {
        None => 1,
        Some(n) if n > 0 => n,
        Some(n) => (cpus + n).max(1),
    };
    let mut variables = Vec::new();
    let overlay = match origin {
        Origin::File {
            env_name: Some(name), ..
        } => Some(format!("env_{name}")),
        _ => None,
    };
    for key in std::iter::once("env".to_owned()).chain(overlay) {
        let section = app.as_object().get(&key).and_then(Value::as_object);
        variables.extend(section.into_iter().flatten().map(|(name, _)| name.clone()));
    }
    if app.as_object().contains_key("port") {
        variables.push("PORT".into());
    }
    variables.sort_unstable();
    variables.dedup();
    Ok(Desired {
        name: app.name().to_owned(),
        app: resolved,
        variables,
        instances: usize::try_from(instances).unwrap_or(1),
    })
}

fn show(context: &Context<'_>, changes: &[Change]) {
    let console = context.console;
    let brush = console.brush;
    let widest = changes
        .iter()
        .map(|change| change.name.chars().count())
        .max()
        .unwrap_or(0);
    for change in changes {
        let (mark, what) = said(change);
        let line = format!("{mark} {:<widest$}  {what}", change.name);
        console.say(match mark {
            '+' => brush.green(line),
            '-' => brush.red(line),
            '=' => brush.grey(line),
            _ => brush.yellow(line),
        });
        for difference in &change.differences {
            console.say(format_args!("    {}", difference_line(difference)));
        }
    }
    let todo = changes.iter().filter(|change| !change.is_nothing()).count();
    console.say(match todo {
        0 => "\nThe list is as the file says; there is nothing to do.".to_owned(),
        1 => "\n1 app changes.".to_owned(),
        n => format!("\n{n} apps change."),
    });
}

fn said(change: &Change) -> (char, String) {
    let (from, to) = change.instances;
    let plural = if to == 1 { "" } else { "es" };
    let scaled = if from == to {
        String::new()
    } else {
        format!("scale from {from} to {to}")
    };
    let both = |what: &str| {
        if scaled.is_empty() {
            what.to_owned()
        } else {
            format!("{what}, {scaled}")
        }
    };
    match change.step {
        Step::Nothing if scaled.is_empty() => ('=', "unchanged".into()),
        Step::Nothing => ('~', scaled),
        Step::Start => ('+', format!("start {to} process{plural}")),
        Step::Restart if change.differences.is_empty() => {
            ('~', both(&format!("start what is down: {}", ids(&change.down))))
        }
        Step::Restart => ('~', both("restart with new values")),
        Step::Replace => ('~', format!("delete, and start {to} process{plural} anew")),
        Step::Delete => ('-', format!("delete {}", ids(&change.ids))),
    }
}

fn ids(ids: &[u32]) -> String {
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    format!("id{} {}", if ids.len() == 1 { "" } else { "s" }, ids.join(", "))
}

fn difference_line(difference: &Difference) -> String {
    let shown = |value: &Value| match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if difference.attribute.starts_with("env.") {
        // The value may be a secret.
        return format!("{} changes", difference.attribute);
    }
    format!(
        "{}: {} → {}",
        difference.attribute,
        shown(&difference.before),
        shown(&difference.after)
    )
}

fn as_json(change: &Change) -> Value {
    let step = match change.step {
        Step::Nothing if change.is_nothing() => "none",
        Step::Nothing => "scale",
        Step::Start => "start",
        Step::Restart => "restart",
        Step::Replace => "replace",
        Step::Delete => "delete",
    };
    let differences: Vec<Value> = change
        .differences
        .iter()
        .map(|difference| {
            json!({
                "attribute": difference.attribute,
                "before": difference.before,
                "after": difference.after,
            })
        })
        .collect();
    json!({
        "name": change.name,
        "action": step,
        "ids": change.ids,
        "instances": { "before": change.instances.0, "after": change.instances.1 },
        "differences": differences,
    })
}

/// Asks a person; whoever is no terminal has decided already.
fn agreed(context: &Context<'_>) -> Result<bool, Failure> {
    let stdin = std::io::stdin();
    if context.typed.on("yes") || !os::terminal::is_terminal(&stdin) {
        return Ok(true);
    }
    context.console.put("Apply this? [y/N] ");
    context.console.flush();
    let mut answer = String::new();
    stdin
        .lock()
        .read_line(&mut answer)
        .map_err(Failure::file("reading the answer from", "standard input"))?;
    let yes = matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
    if !yes {
        context.console.say("Nothing was done.");
    }
    Ok(yes)
}

/// What the file wants, and in which order.
struct Wanted<'a> {
    apps: &'a [Checked],
    needs: &'a [Needs],
    /// Indices of apps; the changes have the same.
    order: &'a [Vec<usize>],
    caller: &'a Caller,
    origin: &'a Origin<'a>,
}

/// What leaves goes first: it may hold a port that something new needs.
fn carry_out(
    context: &Context<'_>,
    client: &mut Client,
    changes: &[Change],
    wanted: &Wanted<'_>,
) -> Result<(), Failure> {
    let list = client.table_list()?;
    let leaving = changes
        .iter()
        .filter(|change| matches!(change.step, Step::Delete | Step::Replace))
        .flat_map(|change| &change.ids);
    let jobs: Vec<Job> = leaving
        .map(|id| Job {
            id: *id,
            env: None,
            as_text: false,
        })
        .collect();
    if !jobs.is_empty() {
        run(context, client, Action::Delete, &list, jobs)?;
    }
    for step in wanted.order {
        let pending = |at: &&usize| {
            changes
                .get(**at)
                .is_some_and(|change| change.step != Step::Nothing)
        };
        let step: Vec<usize> = step.iter().filter(pending).copied().collect();
        let needed = step
            .iter()
            .flat_map(|&at| wanted.needs[at].on.iter().cloned())
            .collect();
        until_names_ready(context, client, &needed)?;
        let mut fresh: Vec<Checked> = Vec::new();
        for at in step {
            let (app, change) = (&wanted.apps[at], &changes[at]);
            if change.step != Step::Restart {
                fresh.push(app.clone());
                continue;
            }
            // What is down can only be started.
            let action = if change.down.is_empty() {
                Action::Reload
            } else {
                Action::Restart
            };
            again(context, client, action, app, wanted.caller, wanted.origin, &list)?;
        }
        launch(context, client, &fresh, wanted.caller, wanted.origin)?;
    }
    for change in changes {
        let stays = matches!(change.step, Step::Nothing | Step::Restart);
        if stays && change.instances.0 != change.instances.1 {
            let list = client.table_list()?;
            let present: Vec<&Process> = list.iter().filter(|p| p.name == change.name).collect();
            scale::to(context, client, &list, &present, change.instances.1)?;
        }
    }
    Ok(())
}
