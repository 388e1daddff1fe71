//! Modules as processes.

use super::manifest::Manifest;
use super::place;
use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::process::Process;
use crate::start::{Action, Machine, make_folders, readable, tell};
use crate::verbs::act::{Job, announce, run};
use pm2::module_conf::ModuleUser;
use pm2::rpc::method;
use pm2::schema::{Origin, check};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// More restarts than this within the time of `--safe` mean that a module is no good.
const MAX_RESTARTS: u32 = 2;
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A module that can be started.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) manifest: Manifest,
    /// Where its package is.
    pub(super) folder: PathBuf,
    pub(super) user: ModuleUser,
    /// It is being developed: restart it when a file changes.
    pub(super) watch: bool,
}

impl Module {
    /// The module that npm put into its folder.
    pub(super) fn from_npm(context: &Context<'_>, name: &str, user: ModuleUser) -> Result<Module, Failure> {
        let folder = place::folder(&context.home, name).join("node_modules").join(name);
        Ok(Module {
            manifest: Manifest::read(&folder)?,
            folder,
            user,
            watch: false,
        })
    }

    /// The module that a tarball was unpacked for.
    pub(super) fn from_tarball(context: &Context<'_>, name: &str) -> Result<Module, Failure> {
        let folder = place::folder(&context.home, name);
        let mut manifest = Manifest::read(&folder)?;
        manifest.prefix_names();
        Ok(Module {
            manifest,
            folder,
            user: ModuleUser::default(),
            watch: false,
        })
    }

    /// Starts its apps, but for those that are there already. Gives their names.
    pub(super) fn start(&self, context: &Context<'_>, client: &mut Client) -> Result<Vec<String>, Failure> {
        let caller = context.caller();
        let origin = Origin::File {
            env_name: None,
            deploy: None,
        };
        let present = client.table_list()?;
        let mut resolved = Vec::new();
        for app in &self.manifest.apps {
            let mut app = app.clone();
            app.insert("cwd".into(), self.folder.to_string_lossy().into_owned().into());
            if self.watch {
                app.insert("watch".into(), true.into());
            }
            for (key, value) in [("uid", &self.user.uid), ("gid", &self.user.gid)] {
                if let Some(value) = value {
                    app.insert(key.into(), value.as_str().into());
                }
            }
            let app = check(app, &caller, &Machine)?;
            let name = app.name().to_owned();
            if present.iter().any(|p| p.name == name) {
                continue;
            }
            let mut ready = app.resolve(&caller, &Machine, &origin)?;
            tell(context, &ready.notes);
            make_folders(context, &ready.folders)?;
            readable(&ready.app)?;
            ready.app.insert("pmx_module".into(), true.into());
            resolved.push((name, vec![Value::Object(ready.app)]));
        }
        let (names, args): (Vec<String>, Vec<Vec<Value>>) = resolved.into_iter().unzip();
        client.act_on_each(method::PREPARE, args, 1, |_, at, result| {
            let started = result?.to_value();
            let count = started.as_array().map_or(1, Vec::len);
            context
                .console
                .info(format_args!("App [{}] launched ({count} instances)", names[at]));
            Ok(())
        })?;
        Ok(names)
    }

    /// Deletes its processes, by their names and by the folder they run in.
    pub(super) fn stop(&self, context: &Context<'_>, client: &mut Client) -> Result<(), Failure> {
        let names: Vec<&str> = self
            .manifest
            .apps
            .iter()
            .filter_map(|app| app.get("name")?.as_str())
            .collect();
        delete(context, client, &self.folder, &names)
    }
}

/// Deletes the modules' processes that have one of these names, or whose script is below the folder.
pub(super) fn delete(
    context: &Context<'_>,
    client: &mut Client,
    folder: &Path,
    names: &[&str],
) -> Result<(), Failure> {
    let list = client.table_list()?;
    let its = |p: &&Process| {
        p.is_module()
            && (names.contains(&p.name.as_str()) || Path::new(p.env.exec_path()).starts_with(folder))
    };
    let ids: Vec<u32> = list.iter().filter(its).map(|p| p.pm_id).collect();
    let Some(first) = list.iter().find(its) else {
        return Ok(());
    };
    announce(context.console, Action::Delete, &first.name, &ids, false);
    let jobs = ids
        .into_iter()
        .map(|id| Job {
            id,
            env: None,
            as_text: false,
        })
        .collect();
    run(context, client, Action::Delete, &list, jobs)
}

/// Looks at processes for some time: `false` as soon as one of them has failed or is restarted again and again.
pub(super) fn stay_up(client: &mut Client, names: &[String], watched: Duration) -> Result<bool, Failure> {
    let until = Instant::now() + watched;
    loop {
        let list = client.table_list()?;
        let fails = |p: &Process| {
            names.contains(&p.name) && (p.status() == "errored" || p.env.restarts() > MAX_RESTARTS)
        };
        if list.iter().any(fails) {
            return Ok(false);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(true);
        }
        std::thread::sleep(left.min(LOOK_AGAIN));
    }
}

/// Starts every installed module, those of npm first. For a daemon that has just been started; one that can't be started must not
/// keep the others, or the command, from going on.
pub(crate) fn start_all(context: &Context<'_>, client: &mut Client) -> Result<(), Failure> {
    let conf = match crate::module_conf::read(&context.home) {
        Ok(conf) => conf,
        Err(failure) => {
            failure.report(context.console);
            return Ok(());
        }
    };
    let modules = conf
        .modules()
        .filter(|(name, _)| super::manifest::is_name(name))
        .map(|(name, user)| (name, Module::from_npm(context, name, user)));
    let tarballs = conf
        .tarballs()
        .filter(|(name, _)| super::manifest::is_name(name))
        .map(|(name, _)| (name, Module::from_tarball(context, name)));
    for (name, module) in modules.chain(tarballs) {
        if let Err(failure) = module.and_then(|module| module.start(context, client)) {
            context
                .console
                .module_error(format_args!("Module {name} could not be started"));
            failure.report(context.console);
        }
    }
    Ok(())
}
