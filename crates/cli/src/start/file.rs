//! Actions on the apps of a configuration file.

use super::order::{Needs, OrderError, steps};
use super::{Action, Machine, make_folders, readable, site, tell};
use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::process::Process;
use crate::verbs::act::{Job, announce, asked_at_once, at_once, run, run_at_once};
use crate::waiting::until_names_ready;
use config::Loaded;
use pm2::Object;
use pm2::rpc::method;
use pm2::schema::{Caller, Checked, Origin, check, restart_env_from_file};
use serde_json::Value;
use std::io::Read;

/// Where a configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// `-`
    Stdin,
    /// A file.
    File(String),
}

/// Text that can be read from standard input at most.
const STDIN_LIMIT: u64 = 16 << 20;
/// Starts under way at once, unless the user says otherwise: of apps that are waited for until they are up …
const STARTS: usize = 16;
/// … and of those whose start is answered once their process is there.
const QUICK_STARTS: usize = 128;

/// A target that is a configuration: `-`, or a name that says so.
pub(crate) fn config_source(target: &str) -> Option<Source> {
    if target == "-" {
        return Some(Source::Stdin);
    }
    config::recognise(target).map(|_| Source::File(target.to_owned()))
}

/// Reads a configuration; the sites of its `static` section are apps too.
pub(crate) fn load(source: &Source) -> Result<Loaded, Failure> {
    let options = config::Options::default();
    let mut loaded = match source {
        Source::File(path) => config::load(path.as_ref(), &options)?,
        Source::Stdin => {
            let mut text = String::new();
            let read = std::io::stdin()
                .lock()
                .take(STDIN_LIMIT)
                .read_to_string(&mut text);
            read.map_err(Failure::file("reading the configuration from", "standard input"))?;
            config::load_stdin(&text, &options)?
        }
    };
    for section in &loaded.static_sites {
        loaded.apps.push(site::app_of(section)?);
    }
    Ok(loaded)
}

/// Stops, deletes, restarts or reloads what the file names. Restart and reload start what does not run.
pub(crate) fn act_on_file(
    context: &Context<'_>,
    client: &mut Client,
    action: Action,
    source: &Source,
) -> Result<(), Failure> {
    let loaded = load(source)?;
    let list = client.table_list()?;
    if matches!(action, Action::Stop | Action::Delete) {
        return end(context, client, action, &loaded, &list);
    }
    let env_name = context.typed.text("env");
    let origin = Origin::File {
        env_name,
        deploy: loaded.deploy.as_ref(),
    };
    let caller = context.caller();
    let mut known: Vec<Checked> = Vec::new();
    let mut fresh: Vec<Checked> = Vec::new();
    for raw in chosen(context, &loaded.apps) {
        let mut raw = raw.clone();
        crate::otel::provide(context, &mut raw);
        let app = checked(context, &raw, &caller)?;
        if list.iter().any(|p| p.name == app.name()) {
            known.push(app);
        } else {
            fresh.push(app);
        }
    }
    let needs: Vec<Needs> = known
        .iter()
        .chain(&fresh)
        .map(|app| Needs::of(app.name(), app.as_object()))
        .collect();
    let steps = steps(&needs, |name| list.iter().any(|p| p.name == name))
        .map_err(|error| Failure::Error(misordered(&loaded, &error).to_string()))?;
    if !fresh.is_empty() {
        let names: Vec<&str> = fresh.iter().map(Checked::name).collect();
        context.console.notice(format_args!(
            "Applications {} not running, starting...",
            names.join(", ")
        ));
    }
    let mut fresh: Vec<Option<Checked>> = fresh.into_iter().map(Some).collect();
    for step in &steps {
        let needed = step.iter().flat_map(|&at| needs[at].on.iter().cloned()).collect();
        until_names_ready(context, client, &needed)?;
        let (alone, of_many): (Vec<&Checked>, Vec<&Checked>) = step
            .iter()
            .filter_map(|&at| known.get(at))
            .partition(|app| list.iter().filter(|p| p.name == app.name()).count() == 1);
        // Apps may go down side by side; the processes of one app may not, or nobody would serve.
        let mut jobs = Vec::with_capacity(alone.len());
        for app in alone {
            jobs.extend(jobs_again(context, action, app, &caller, &origin, &list));
        }
        run_at_once(context, client, action, &list, jobs, at_once(context))?;
        for app in of_many {
            again(context, client, action, app, &caller, &origin, &list)?;
        }
        let new: Vec<Checked> = step
            .iter()
            .filter_map(|&at| fresh.get_mut(at.checked_sub(known.len())?)?.take())
            .collect();
        launch(context, client, &new, &caller, &origin)?;
    }
    Ok(())
}

/// A complaint about an order that there is not, with its place in the file.
pub(crate) fn misordered(loaded: &Loaded, error: &OrderError) -> config::Diagnostic {
    let of_app = |app: &Object| name_of(app).as_deref() == Some(error.app());
    let at = loaded.apps.iter().position(of_app).unwrap_or(0);
    loaded.complain(at, &["depends_on", "dependsOn"], &error.to_string())
}

/// An app of a file, with what the command line says about all of them.
pub(crate) fn checked(context: &Context<'_>, raw: &Object, caller: &Caller) -> Result<Checked, Failure> {
    let mut raw = with_options(context, raw)?;
    if site::is_site(&raw) {
        // Its name would come from the script, which is about to become this program.
        let name = name_of(&raw).unwrap_or_default();
        raw.insert("name".into(), name.into());
        site::run_server(&mut raw)?;
    }
    Ok(check(raw, caller, &Machine)?)
}

/// Starts one app that a verb has put together, or restarts it with what holds now.
pub(crate) fn start_or_restart(
    context: &Context<'_>,
    client: &mut Client,
    app: Checked,
    list: &[Process],
) -> Result<(), Failure> {
    let caller = context.caller();
    let origin = Origin::File {
        env_name: None,
        deploy: None,
    };
    if list.iter().any(|p| p.name == app.name()) && !context.typed.on("force") {
        again(context, client, Action::Restart, &app, &caller, &origin, list)
    } else {
        launch(context, client, &[app], &caller, &origin)
    }
}

/// Stop and delete go by name, and are content when nothing is there.
fn end(
    context: &Context<'_>,
    client: &mut Client,
    action: Action,
    loaded: &Loaded,
    list: &[Process],
) -> Result<(), Failure> {
    let only = context.typed.text("only");
    let mut jobs = Vec::new();
    for app in &loaded.apps {
        let Some(name) = name_of(app) else { continue };
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let named = list.iter().filter(|p| p.name == name);
        jobs.extend(named.map(|p| Job {
            id: p.pm_id,
            env: None,
            as_text: false,
        }));
    }
    run(context, client, action, list, jobs)
}

pub(crate) fn name_of(app: &Object) -> Option<String> {
    let text = |keys: &[&str]| keys.iter().find_map(|key| app.get(*key)).and_then(Value::as_str);
    if let Some(name) = text(&["name"]) {
        return Some(name.to_owned());
    }
    let script = text(&["script", "exec", "cmd", "command"])?;
    let base = script.rsplit('/').next().unwrap_or(script);
    Some(
        base.rsplit_once('.')
            .filter(|(stem, _)| !stem.is_empty())
            .map_or(base, |(stem, _)| stem)
            .to_owned(),
    )
}

/// The apps that `--only` leaves.
pub(crate) fn chosen<'a>(context: &Context<'_>, apps: &'a [Object]) -> Vec<&'a Object> {
    let Some(only) = context.typed.text("only") else {
        return apps.iter().collect();
    };
    let names: Vec<&str> = only.split([',', ' ']).filter(|name| !name.is_empty()).collect();
    apps.iter()
        .filter(|app| name_of(app).is_some_and(|name| names.contains(&name.as_str())))
        .collect()
}

/// Lays over an app what the command line may say about all apps of a file.
fn with_options(context: &Context<'_>, raw: &Object) -> Result<Object, Failure> {
    let mut app = raw.clone();
    let typed = super::options(&context.typed, &context.cwd)?;
    // What development mode assumes gives way to what the file says.
    let assumed = context.typed.verb == Some(crate::args::Verb::Dev);
    for key in ["watch", "ignore_watch", "uid", "gid"] {
        if let (Some(value), false) = (typed.get(key), assumed && app.contains_key(key)) {
            app.insert(key.into(), value.clone());
        }
    }
    if let (Some(delay), true) = (typed.get("restart_delay"), assumed) {
        app.entry("restart_delay").or_insert_with(|| delay.clone());
    }
    if let Some(count) = context
        .typed
        .text("instances")
        .and_then(|text| text.parse::<i64>().ok())
    {
        app.insert("instances".into(), count.into());
    }
    if let (Some(namespace), false) = (typed.get("namespace"), app.contains_key("namespace")) {
        app.insert("namespace".into(), namespace.clone());
    }
    let appends = app.get("append_env_to_name").is_some_and(pm2::js::truthy);
    if let (Some(env), true, Some(name)) = (context.typed.text("env"), appends, name_of(&app)) {
        app.insert("name".into(), format!("{name}-{env}").into());
    }
    Ok(app)
}

/// Restarts or reloads all processes of a known app with what the file says now.
pub(crate) fn again(
    context: &Context<'_>,
    client: &mut Client,
    action: Action,
    app: &Checked,
    caller: &Caller,
    origin: &Origin<'_>,
    list: &[Process],
) -> Result<(), Failure> {
    let jobs = jobs_again(context, action, app, caller, origin, list);
    run(context, client, action, list, jobs)
}

/// Says what is about to happen to the processes of a known app, and what is to be done.
fn jobs_again(
    context: &Context<'_>,
    action: Action,
    app: &Checked,
    caller: &Caller,
    origin: &Origin<'_>,
    list: &[Process],
) -> Vec<Job> {
    let (env, notes) = restart_env_from_file(app, caller, origin);
    tell(context, &app.notes);
    tell(context, &notes);
    let ids: Vec<u32> = list
        .iter()
        .filter(|p| p.name == app.name())
        .map(|p| p.pm_id)
        .collect();
    announce(context.console, action, app.name(), &ids, false);
    let job = |id| Job {
        id,
        env: Some(env.clone()),
        as_text: false,
    };
    ids.into_iter().map(job).collect()
}

/// Starts apps that are not there yet.
pub(crate) fn launch(
    context: &Context<'_>,
    client: &mut Client,
    apps: &[Checked],
    caller: &Caller,
    origin: &Origin<'_>,
) -> Result<(), Failure> {
    let mut args = Vec::with_capacity(apps.len());
    // All are resolved before the first is started: a mistake in the last app starts none.
    for app in apps {
        let resolved = app.resolve(caller, &Machine, origin)?;
        tell(context, &resolved.notes);
        make_folders(context, &resolved.folders)?;
        readable(&resolved.app)?;
        if app.as_object().get("wait_ready").is_some_and(pm2::js::truthy) {
            let name = app.name();
            context.console.notice(format_args!(
                "App {name} has option 'wait_ready' set, waiting for app to be ready..."
            ));
        }
        args.push(vec![Value::Object(resolved.app)]);
    }
    let at_once = asked_at_once(context).unwrap_or(if apps.iter().any(is_waited_for) {
        STARTS
    } else {
        QUICK_STARTS
    });
    client.act_on_each(method::PREPARE, args, at_once, |_, at, result| {
        let count = context.note_started(&result?);
        context.console.info(format_args!(
            "App [{}] launched ({count} instances)",
            apps[at].name()
        ));
        Ok(())
    })?;
    Ok(())
}

/// Whether a start is answered only when the app is up: it says `ready`, or listens.
fn is_waited_for(app: &Checked) -> bool {
    let app = app.as_object();
    app.get("wait_ready").is_some_and(pm2::js::truthy)
        || app.get("exec_mode").and_then(Value::as_str) == Some("cluster_mode")
        // A number of instances makes a cluster of a Node app.
        || app.get("instances").is_some_and(pm2::js::truthy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sources() {
        assert_eq!(config_source("-"), Some(Source::Stdin));
        assert_eq!(
            config_source("a/ecosystem.config.js"),
            Some(Source::File("a/ecosystem.config.js".into()))
        );
        assert_eq!(config_source("app.js"), None);
        assert_eq!(config_source("api"), None);
    }

    #[test]
    fn names() {
        let name = |app: Value| name_of(app.as_object().unwrap());
        assert_eq!(
            name(json!({ "script": "./a/b.config.js" })).as_deref(),
            Some("b.config")
        );
        assert_eq!(
            name(json!({ "exec": ".hidden", "name": "x" })).as_deref(),
            Some("x")
        );
        assert_eq!(name(json!({ "script": ".hidden" })).as_deref(), Some(".hidden"));
        assert_eq!(name(json!({})), None);
    }
}
