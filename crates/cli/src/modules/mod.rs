//! Modules: packages that run beside the apps, are started with the daemon, and have their configuration in `module_conf.json`.
//!
//! A module is made ready in a folder beside the others, and only then takes the place of what was there: while npm works, and if it
//! fails, the module of before runs on.

mod launch;
mod manifest;
mod place;
mod publish;
mod source;
mod template;
mod tools;

pub(crate) use launch::start_all;
pub(crate) use publish::publish;
pub(crate) use tools::Installer;

use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::home::now_ms;
use crate::module_conf::{read, update};
use crate::verbs::Then;
use launch::{Module, delete, stay_up};
use manifest::Manifest;
use place::{Placed, Staging};
use pm2::js;
use pm2::module_conf::ModuleUser;
use source::{Place, Source, source};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long `--safe` watches a new module, unless it says how long.
const SAFE: Duration = Duration::from_millis(3000);

/// `install`, `module:install`, `module:update`.
pub(crate) fn install(context: &Context<'_>) -> Result<Then, Failure> {
    let typed = &context.typed.operands[0];
    install_package(context, typed)
}

/// Installs what may be typed behind `install`.
pub(crate) fn install_package(context: &Context<'_>, typed: &str) -> Result<Then, Failure> {
    crate::home::prepare(&context.home)?;
    let console = context.console;
    match source(typed, context.typed.on("tarball"), &context.cwd) {
        Source::Folder(folder) => from_folder(context, folder)?,
        Source::Tarball(place) => from_tarball(context, &place)?,
        Source::Npm(package) => from_npm(context, typed, &package)?,
        Source::Helper(name) => {
            let installer = Installer::find()?;
            console.module(format_args!(
                "Calling [{}] to install {name} for all ...",
                installer.name()
            ));
            installer.add_global(&name, console)?;
            console.module(format_args!("{name} successfully installed"));
        }
        Source::Needless(name) => {
            console.module(format_args!(
                "{name} is not needed here: there is nothing to install"
            ));
            return Ok(Then::Done);
        }
    }
    Ok(Then::List)
}

/// `uninstall`, `module:uninstall`.
pub(crate) fn uninstall(context: &Context<'_>) -> Result<Then, Failure> {
    let (console, wanted) = (context.console, &context.typed.operands[0]);
    console.module(format_args!("Uninstalling module {wanted}"));
    let conf = read(&context.home)?;
    let installed = conf.modules().map(|(name, _)| name);
    let installed = installed.chain(conf.tarballs().map(|(name, _)| name));
    let names: Vec<String> = installed
        .filter(|name| wanted == "all" || name == wanted)
        .map(str::to_owned)
        .collect();
    if names.is_empty() && wanted != "all" {
        console.module_error("Unknown module");
        return Err(Failure::Told);
    }
    let mut client = context.client()?;
    for name in &names {
        update(&context.home, |conf| Ok(conf.forget_module(name)))?;
        if !manifest::is_name(name) {
            continue;
        }
        let folder = place::folder(&context.home, name);
        delete(context, &mut client, &folder, &[name])?;
        console.say(format_args!("Deleting {}", folder.display()));
        place::remove(&folder).map_err(Failure::file("removing", &folder))?;
    }
    Ok(Then::List)
}

/// `module:generate`.
pub(crate) fn generate(context: &Context<'_>) -> Result<Then, Failure> {
    template::generate(context)?;
    Ok(Then::Done)
}

/// `package`: a folder as a tarball in the working directory.
pub(crate) fn package(context: &Context<'_>) -> Result<Then, Failure> {
    let folder = typed_folder(context);
    let manifest = Manifest::read(&folder)?;
    let version = manifest.version.as_deref().unwrap_or("0");
    let tarball = publish::packed(context, &folder, version, &context.cwd)?;
    let console = context.console;
    console.module(format_args!("Module packaged in {}", tarball.display()));
    Ok(Then::Done)
}

fn typed_folder(context: &Context<'_>) -> PathBuf {
    let typed = context.typed.operands.first().map_or(".", String::as_str);
    pm2::home::clean(&context.cwd.join(typed))
}

/// The folder itself is the module; nothing is copied, and the next daemon does not start it.
fn from_folder(context: &Context<'_>, folder: PathBuf) -> Result<(), Failure> {
    let console = context.console;
    console.module("Installing the module of this folder");
    let module = Module {
        manifest: Manifest::read(&folder)?,
        folder,
        user: typed_user(context),
        watch: true,
    };
    console.module("Running the module of this folder; it restarts when a file changes");
    let mut client = context.client()?;
    set_defaults(context, &module.manifest)?;
    module.stop(context, &mut client)?;
    module.start(context, &mut client)?;
    console.module("Module successfully installed and launched");
    Ok(())
}

fn from_npm(context: &Context<'_>, typed: &str, package: &str) -> Result<(), Failure> {
    let console = context.console;
    let installer = Installer::find()?;
    let mut client = context.client()?;
    console.module(format_args!("Installing NPM {typed} module"));
    console.module(format_args!(
        "Calling [{}] to install {typed} ...",
        installer.name()
    ));
    let staging = Staging::new(&context.home)?;
    let ready = installer
        .add(&[package], staging.path(), console)
        .and_then(|()| dependency_of(staging.path()))
        .and_then(|name| {
            let folder = staging.path().join("node_modules").join(&name);
            let manifest = Manifest::read(&folder)?;
            // The folder is what npm made of the name; the manifest's own may be spelled otherwise.
            Ok((name, manifest))
        });
    let (name, manifest) = match ready {
        Ok(ready) => ready,
        Err(failure) => {
            failure.report(console);
            console.error(format_args!(
                "Installation failed via {}, module has been restored to prev version",
                installer.name()
            ));
            return Err(Failure::Told);
        }
    };
    console.module("Module downloaded");
    let user = typed_user(context);
    let former = Former::find(context, &name);
    let placed = staging.take_place(&context.home, &name)?;
    set_defaults(context, &manifest)?;
    update(&context.home, |conf| {
        conf.forget_module(&name);
        conf.note_module(&name, &user);
        Ok(())
    })?;
    let fresh = Module::from_npm(context, &name, user);
    settle(context, &mut client, &name, fresh, placed, former)?;
    show_configuration(context, &name)?;
    console.module("Module successfully installed and launched");
    console.module(format_args!("Its settings: `$ {} conf`", context.program));
    Ok(())
}

/// npm wrote down what it installed: the only dependency is the module, whatever form was asked for.
fn dependency_of(folder: &Path) -> Result<String, Failure> {
    let path = folder.join("package.json");
    let text = std::fs::read_to_string(&path).map_err(Failure::file("reading", &path))?;
    let value: serde_json::Value = serde_json::from_str(&text)?;
    let names = value.get("dependencies").and_then(|all| all.as_object());
    names
        .and_then(|names| names.keys().next())
        .filter(|name| manifest::is_name(name))
        .cloned()
        .ok_or_else(|| Failure::Error("the package manager installed nothing that can be run".into()))
}

fn from_tarball(context: &Context<'_>, place: &Place) -> Result<(), Failure> {
    let console = context.console;
    let mut client = context.client()?;
    console.module("Installing TAR module");
    let staging = Staging::new(&context.home)?;
    let (tarball, shown, fetched) = match place {
        Place::File(path) => (path.clone(), path.display().to_string(), None),
        Place::Url(url) => {
            let name = format!(".fetched-{}.tar.gz", std::process::id());
            let path = context.home.module_dir.join(name);
            (path.clone(), url.clone(), Some(path))
        }
    };
    console.module(format_args!("Installing package {shown}"));
    let unpacked = match place {
        Place::File(_) => Ok(()),
        Place::Url(url) => tools::fetch(url, &tarball, console),
    };
    let unpacked = unpacked.and_then(|()| tools::unpack(&tarball, staging.path(), console));
    if let Some(fetched) = fetched {
        // Only a left-over.
        let _ = place::remove(&fetched);
    }
    unpacked?;
    let manifest = Manifest::read(staging.path())?;
    let name = manifest.name.clone();
    console.module(format_args!("Module name is {name}"));
    if context.typed.on("install") {
        Installer::find()?.install(staging.path(), console)?;
    }
    let former = Former::find(context, &name);
    let placed = staging.take_place(&context.home, &name)?;
    console.module(format_args!(
        "Module depackaged in {}",
        place::folder(&context.home, &name).display()
    ));
    set_defaults(context, &manifest)?;
    update(&context.home, |conf| {
        conf.forget_module(&name);
        conf.note_tarball(&name, &shown, now_ms());
        Ok(())
    })?;
    let fresh = Module::from_tarball(context, &name);
    settle(context, &mut client, &name, fresh, placed, former)?;
    console.module("Installed and started");
    Ok(())
}

/// How a module of the same name was installed before.
struct Former {
    user: ModuleUser,
    tarball: Option<serde_json::Value>,
}

impl Former {
    fn find(context: &Context<'_>, name: &str) -> Option<Former> {
        let conf = read(&context.home).ok()?;
        if let Some((_, record)) = conf.tarballs().find(|(known, _)| *known == name) {
            return Some(Former {
                user: ModuleUser::default(),
                tarball: Some(record.clone()),
            });
        }
        let (_, user) = conf.modules().find(|(known, _)| *known == name)?;
        Some(Former { user, tarball: None })
    }
}

/// Starts what has taken its place; brings back what was there before if that is no good.
fn settle(
    context: &Context<'_>,
    client: &mut Client,
    name: &str,
    fresh: Result<Module, Failure>,
    placed: Placed,
    former: Option<Former>,
) -> Result<(), Failure> {
    let console = context.console;
    let folder = place::folder(&context.home, name);
    delete(context, client, &folder, &[name])?;
    let safe = context.typed.get("safe").map(|_| {
        let ms = context.typed.text("safe").and_then(|ms| ms.parse().ok());
        ms.map_or(SAFE, Duration::from_millis)
    });
    let good = fresh.and_then(|module| {
        let names = module.start(context, client)?;
        match safe {
            None => Ok(true),
            Some(watched) => stay_up(client, &names, watched),
        }
    });
    match good {
        Ok(true) => return placed.keep(),
        Ok(false) => console.module_error("New module is unstable, restoring to previous version"),
        Err(failure) => {
            failure.report(console);
        }
    }
    delete(context, client, &folder, &[name])?;
    let had = placed.has_former();
    placed.undo()?;
    update(&context.home, |conf| {
        conf.forget_module(name);
        match &former {
            Some(Former {
                tarball: Some(record),
                ..
            }) => conf.restore_tarball(name, record.clone()),
            Some(former) => conf.note_module(name, &former.user),
            None => {}
        }
        Ok(())
    })?;
    if let (true, Some(former)) = (had, former) {
        let module = match former.tarball {
            Some(_) => Module::from_tarball(context, name),
            None => Module::from_npm(context, name, former.user),
        };
        module?.start(context, client)?;
        console.module(format_args!("Module {name} is back in its previous version"));
    }
    Err(Failure::Told)
}

fn typed_user(context: &Context<'_>) -> ModuleUser {
    let text = |option: &str| context.typed.text(option).map(str::to_owned);
    ModuleUser {
        uid: text("uid").or_else(|| text("user")),
        gid: text("gid"),
    }
}

fn set_defaults(context: &Context<'_>, manifest: &Manifest) -> Result<(), Failure> {
    if manifest.config.is_empty() {
        return Ok(());
    }
    update(&context.home, |conf| {
        conf.set_defaults(&manifest.name, &manifest.config);
        Ok(())
    })
}

/// The configuration of a module, as commands that would set it.
fn show_configuration(context: &Context<'_>, name: &str) -> Result<(), Failure> {
    let conf = read(&context.home)?;
    let Some(section) = conf.section(name).filter(|section| !section.is_empty()) else {
        return Ok(());
    };
    let (console, brush) = (context.console, context.console.brush);
    console.say(format_args!(
        "{}{}",
        brush.bold("Module: "),
        brush.bold(brush.blue(name))
    ));
    for (key, value) in section {
        console.say(format_args!(
            "$ {} set {name}:{key} {}",
            context.program,
            js::to_text(value)
        ));
    }
    Ok(())
}
