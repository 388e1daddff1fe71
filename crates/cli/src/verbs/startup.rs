//! startup, unstartup, logrotate: what the system has to know of the daemon. None of them talks to it.

use super::Then;
use crate::context::{Context, var};
use crate::failure::Failure;
use crate::home::write_atomically;
use crate::start::Machine;
use crate::startup::{Facts, Plan, Platform, logrotate as logrotate_text};
use pm2::schema::Host as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const RULE: &str = "-----------------------------------------------------------";

pub(crate) fn startup(context: &Context<'_>) -> Result<Then, Failure> {
    let (platform, facts) = asked(context)?;
    let plan = Plan::new(platform, &facts).map_err(Failure::Error)?;
    let dry = context.typed.on("dry-run");
    if !dry {
        need_root(context, "startup", platform, &facts)?;
    }
    let console = context.console;
    console.say(format_args!("Platform {}", platform.name()));
    console.say(format_args!("Template\n{}", plan.text));
    console.say(format_args!("Target path\n{}", plan.file.display()));
    console.say("Command list");
    for command in &plan.enable {
        console.say(format_args!("  {}", command.join(" ")));
    }
    if dry {
        return Ok(Then::Done);
    }
    console.info(format_args!("Writing {}", plan.file.display()));
    if let Some(folder) = plan.file.parent() {
        std::fs::create_dir_all(folder).map_err(Failure::file("making the folder", folder))?;
    }
    let mode = if plan.executable { 0o755 } else { 0o644 };
    write_atomically(&plan.file, plan.text.as_bytes(), mode).map_err(Failure::file("writing", &plan.file))?;
    console.info("Enabling it at boot...");
    for command in &plan.enable {
        console.info(format_args!("[-] Executing: {}...", command.join(" ")));
        console.flush();
        run(command)?;
        console.info("[v] Done.");
    }
    console.say("+---------------------------------------+");
    console.info(format_args!(
        "To have the present list started at boot:\n$ {} save\n",
        context.program
    ));
    console.info(format_args!(
        "Remove init script via:\n$ {} unstartup {}",
        context.program,
        platform.name()
    ));
    Ok(Then::Done)
}

pub(crate) fn unstartup(context: &Context<'_>) -> Result<Then, Failure> {
    let (platform, facts) = asked(context)?;
    let plan = Plan::new(platform, &facts).map_err(Failure::Error)?;
    let console = context.console;
    if context.typed.on("dry-run") {
        for command in &plan.disable {
            console.say(format_args!("  {}", command.join(" ")));
        }
        for file in &plan.remove {
            console.say(format_args!("  rm {}", file.display()));
        }
        return Ok(Then::Done);
    }
    need_root(context, "unstartup", platform, &facts)?;
    // Half a service may be left of an earlier failure, so each step is tried whatever became of the one before.
    for command in &plan.disable {
        if let Err(failure) = run(command) {
            console.warn(failure);
        }
    }
    for file in &plan.remove {
        match std::fs::remove_file(file) {
            Ok(()) => console.info(format_args!("Removed {}", file.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::file("removing", file)(error)),
        }
    }
    console.info("Init file disabled.");
    Ok(Then::Done)
}

/// Which init system, and what its file must say.
fn asked(context: &Context<'_>) -> Result<(Platform, Facts), Failure> {
    let console = context.console;
    let found = Platform::detect(|program| Machine.find_program(program).is_some());
    if let Some(found) = found {
        console.info(format_args!("Init System found: {}", found.name()));
    }
    let platform = match (context.typed.operands.first(), found) {
        (Some(word), found) => {
            let named = Platform::named(word).ok_or_else(|| {
                Failure::Error(format!(
                    "Unknown platform / init system name {word}: say one of {}",
                    Platform::words()
                ))
            })?;
            if let Some(found) = found.filter(|found| *found != named) {
                console.say(format_args!(
                    "{RULE}\n {} was found here, but {word} was asked for: it is set up for {word}\n{RULE}",
                    found.name()
                ));
            }
            named
        }
        (None, Some(found)) => found,
        (None, None) => {
            return Err(Failure::Error(format!(
                "Init system not found: name it, as in {} startup systemd",
                context.program
            )));
        }
    };
    Ok((platform, facts(context)?))
}

fn facts(context: &Context<'_>) -> Result<Facts, Failure> {
    let current = os::users::current();
    let user = match context.typed.text("user") {
        Some(user) => user.to_owned(),
        None => current
            .as_ref()
            .map(|user| user.name.clone())
            .or_else(|| var("USER"))
            .ok_or_else(|| Failure::Error("your user has no name: say it with -u".into()))?,
    };
    let known = os::users::user(&user).map(|user| user.home);
    let (user_home, home) = match context.typed.text("hp") {
        Some(hp) => {
            let folder = absolute(context, hp);
            let home = match folder.file_name() {
                Some(name) if name == ".pm2" => folder.clone(),
                _ => folder.join(".pm2"),
            };
            (folder, home)
        }
        None => {
            let user_home = known.unwrap_or_else(|| PathBuf::from("/"));
            let home = match context.typed.text("user") {
                // Somebody else's home, unless a home was named.
                Some(_) if var("PM2_HOME").is_none() => user_home.join(".pm2"),
                _ => context.home.root.clone(),
            };
            (user_home, home)
        }
    };
    let text = |path: &Path| path.to_string_lossy().into_owned();
    Ok(Facts {
        program: text(&program(context)),
        path: search_path(),
        user,
        user_home: text(&user_home),
        home: text(&home),
        service_name: context.typed.text("service-name").map(str::to_owned),
        wait_ip: context.typed.on("wait-ip"),
    })
}

/// The path by which this program was called, so that a link named `pm2` stays one.
fn program(context: &Context<'_>) -> PathBuf {
    let typed = std::env::args_os().next().map(PathBuf::from);
    let called = typed.and_then(|path| {
        if path.components().count() > 1 {
            Some(pm2::home::clean(&context.cwd.join(path)))
        } else {
            Machine.find_program(path.to_str()?)
        }
    });
    called
        .filter(|path| path.exists())
        .or_else(|| std::env::current_exe().ok())
        .unwrap_or_else(|| PathBuf::from(context.program))
}

/// The caller's `PATH`, and the places where the programs of a system are.
fn search_path() -> String {
    let mut out: Vec<String> = Vec::new();
    let present = var("PATH").unwrap_or_default();
    let system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    for folder in present.split(':').chain(system.split(':')) {
        if !folder.is_empty() && !out.iter().any(|known| known == folder) {
            out.push(folder.to_owned());
        }
    }
    out.join(":")
}

fn absolute(context: &Context<'_>, path: &str) -> PathBuf {
    pm2::home::clean(&context.cwd.join(path))
}

/// Without root's rights nothing can be done; the user is told what to type instead.
fn need_root(context: &Context<'_>, verb: &str, platform: Platform, facts: &Facts) -> Result<(), Failure> {
    if os::users::effective_ids().0 == 0 {
        return Ok(());
    }
    let program = Path::new(&facts.program);
    let folder = program.parent().unwrap_or(Path::new("/usr/bin"));
    let whose = if verb == "startup" { "setup" } else { "unsetup" };
    context.console.info(format_args!(
        "To {whose} the Startup Script, copy/paste the following command:"
    ));
    context.console.say(format_args!(
        "sudo env PATH=$PATH:{} {} {verb} {} -u {} --hp {}{}",
        folder.display(),
        facts.program,
        platform.name(),
        facts.user,
        facts.user_home,
        facts
            .service_name
            .as_ref()
            .map(|name| format!(" --service-name {name}"))
            .unwrap_or_default(),
    ));
    Err(Failure::Told)
}

fn run(command: &[String]) -> Result<(), Failure> {
    let failed = |reason: String| Failure::Error(format!("{}: {reason}", command.join(" ")));
    let Some((program, args)) = command.split_first() else {
        return Ok(());
    };
    let status = Command::new(program)
        .args(args)
        .status()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => failed(format!("{program} is not on this machine")),
            _ => failed(error.to_string()),
        })?;
    if status.success() {
        Ok(())
    } else {
        Err(failed(format!("it ended with {status}")))
    }
}

pub(crate) fn logrotate(context: &Context<'_>) -> Result<Then, Failure> {
    let facts = facts(context)?;
    if os::users::effective_ids().0 != 0 {
        let console = context.console;
        console.error("Only root may do this. As root, run:");
        console.error(format_args!(
            "      sudo env PATH=$PATH {} logrotate -u {}",
            facts.program, facts.user
        ));
        return Err(Failure::Told);
    }
    let path = PathBuf::from(format!("/etc/logrotate.d/pm2-{}", facts.user));
    let group = os::users::user(&facts.user).map_or_else(|| facts.user.clone(), |user| user.gid.to_string());
    let text = logrotate_text(&facts.home, &facts.user, &group);
    if context.typed.on("dry-run") {
        context.console.say(format_args!("{}\n{text}", path.display()));
        return Ok(Then::Done);
    }
    write_atomically(&path, text.as_bytes(), 0o644).map_err(Failure::file("writing", &path))?;
    context.console.info(format_args!(
        "Logrotate configuration added to {}",
        path.display()
    ));
    Ok(Then::Done)
}
