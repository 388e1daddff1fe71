//! The one binary. It only finds out which role it plays, by its first argument: `keeper` and `daemon` are started by the program
//! itself, `hub` is the other half of the product, and everything else is a verb of the command line.

mod link;

use std::env::{self, VarError};
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use daemon::DaemonOptions;
use keeper::client::Respawn;
use keeper::{KEEPER_FD, KeeperOptions, READY_FD};
use pm2::home::Home;

/// What of a hub's events is told; `PILOTHOUSE_LOG` says otherwise.
const HUB_LOG: &str = "info";

fn main() -> ExitCode {
    let argv: Vec<OsString> = env::args_os().collect();
    let role = argv
        .get(1)
        .and_then(|word| word.to_str())
        .unwrap_or_default()
        .to_owned();
    let done = match role.as_str() {
        "keeper" => {
            tell_panics("keeper");
            be_keeper(&argv)
        }
        "daemon" => {
            tell_panics("daemon");
            be_daemon()
        }
        "static-server" => {
            tell_panics("static-server");
            be_static_server()
        }
        "hub" => {
            tell_panics("hub");
            let filter = tracing_subscriber::EnvFilter::try_from_env("PILOTHOUSE_LOG");
            tracing_subscriber::fmt()
                .with_env_filter(filter.unwrap_or_else(|_| HUB_LOG.into()))
                // A file or a journal would keep the colours as what they are: escapes.
                .with_ansi(io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none())
                .with_writer(io::stderr)
                .init();
            // Each agent and each browser is a descriptor, and the usual soft limit is 1,024 of them.
            let _ = os::process::raise_descriptor_limit();
            Ok(hub::cli::main(argv.into_iter().skip(2)))
        }
        _ => {
            tell_panics("command");
            Ok(cli::main(argv, &link::Links::default()))
        }
    };
    done.unwrap_or_else(|error| {
        // Without standard error there is nobody to tell.
        let _ = writeln!(io::stderr(), "{role}: {error:#}");
        ExitCode::FAILURE
    })
}

/// `keeper --home DIR`: a process of its own, away from the terminal that started it.
fn be_keeper(argv: &[OsString]) -> anyhow::Result<ExitCode> {
    let root = match argv {
        [_, _, flag, root] if flag == "--home" => PathBuf::from(root),
        _ => anyhow::bail!("this is started by the other commands; usage: keeper --home DIR"),
    };
    // It fails when this is a session already, and then there is nothing to do.
    let _ = rustix::process::setsid();
    let home = home_at(&root);
    let exe = env::current_exe().context("finding this program")?;
    // The title overwrites the arguments, so they must be as long.
    let title = format!("PM2 v{}: God Daemon ({})", pm2::COMPAT_VERSION, root.display());
    let ended = keeper::run(KeeperOptions {
        home: home.root.clone(),
        daemon_exe: exe,
        daemon_argv: vec![title.into(), "daemon".into()],
        title: format!("Pilothouse keeper ({})", root.display()),
    })?;
    tracing::debug!(?ended);
    Ok(ExitCode::SUCCESS)
}

/// `daemon`: started by the keeper, which says over which descriptor it is to be reached.
fn be_daemon() -> anyhow::Result<ExitCode> {
    let keeper = inherited(KEEPER_FD)?.context("the daemon is started by its keeper, not by hand")?;
    // A daemon that comes after another has nobody waiting; the variable may still be there.
    let ready = inherited(READY_FD).ok().flatten();
    let cwd = env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let home = Home::resolve(|name| env::var(name).ok(), &cwd, None);
    let exe = env::current_exe().context("finding this program")?;
    let argv = vec![
        exe.clone().into(),
        "keeper".into(),
        "--home".into(),
        home.root.clone().into(),
    ];
    Ok(daemon::run(DaemonOptions {
        home,
        keeper,
        respawn: Respawn { exe, argv },
        ready,
    }))
}

/// `static-server`: an app that `serve` starts; its configuration is in `PM2_SERVE_*`.
fn be_static_server() -> anyhow::Result<ExitCode> {
    let cwd = env::current_dir().context("finding the working directory")?;
    let options = serve::Options::from_env(|name| env::var(name).ok(), &cwd)?;
    serve::run(options)?;
    Ok(ExitCode::SUCCESS)
}

fn home_at(root: &Path) -> Home {
    Home::at(root, |name| env::var(name).ok())
}

/// The descriptor that a variable names; `None` if it is not set.
fn inherited(variable: &'static str) -> anyhow::Result<Option<OwnedFd>> {
    let text = match env::var(variable) {
        Ok(text) => text,
        Err(VarError::NotPresent) => return Ok(None),
        Err(error) => return Err(error).context(variable),
    };
    let number = text
        .parse()
        .with_context(|| format!("{variable} is {text:?}, which is no descriptor"))?;
    os::fd::inherited(number)
        .map(Some)
        .with_context(|| format!("{variable} names descriptor {number}"))
}

/// One line that says where and why, in the log of whoever panics.
fn tell_panics(role: &'static str) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no reason given");
        let _ = writeln!(io::stderr(), "pilothouse {role}: bug at {place}: {text}");
    }));
}
