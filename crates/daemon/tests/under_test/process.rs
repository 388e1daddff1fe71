//! Keeper and daemon in one program, as the real binary is, for the tests of this crate.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use daemon::DaemonOptions;
use keeper::client::Respawn;
use keeper::{KeeperOptions, READY_FD};
use pm2::home::Home;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let role = args
        .get(1)
        .and_then(|arg| arg.to_str())
        .unwrap_or_default()
        .to_owned();
    let Some(root) = args.get(2).map(PathBuf::from) else {
        return ExitCode::from(2);
    };
    let Ok(exe) = std::env::current_exe() else {
        return ExitCode::from(3);
    };
    let argv = |role: &str| vec![exe.clone().into(), role.into(), root.clone().into()];
    match role.as_str() {
        "keeper" => {
            let options = KeeperOptions {
                home: root.clone(),
                daemon_exe: exe.clone(),
                daemon_argv: argv("daemon"),
                title: String::new(),
            };
            match keeper::run(options) {
                Ok(_) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            }
        }
        "daemon" => {
            let fd = |name: &str| {
                let number = std::env::var(name).ok()?.parse().ok()?;
                os::fd::inherited(number).ok()
            };
            let (Some(link), ready) = (fd(keeper::KEEPER_FD), fd(READY_FD)) else {
                return ExitCode::from(4);
            };
            daemon::run(DaemonOptions {
                home: Home::at(&root, |name| std::env::var(name).ok()),
                keeper: link,
                respawn: Respawn {
                    exe: exe.clone(),
                    argv: argv(if std::env::var_os(LINGERS).is_some() {
                        "lingering-keeper"
                    } else {
                        "keeper"
                    }),
                },
                ready,
            })
        }
        "lingering-keeper" => linger(&argv("keeper")),
        _ => ExitCode::from(5),
    }
}

/// Set: keepers that a daemon starts end some time after their connection is closed, as those do that hold very much.
const LINGERS: &str = "KEEPER_LINGERS";
/// The descriptor of the connection, where a daemon puts it.
const CONNECTION: i32 = 3;

/// Be the parent of a keeper: of its connection this process has nothing, and it ends later.
fn linger(argv: &[OsString]) -> ExitCode {
    let started = Command::new(&argv[0]).args(&argv[1..]).spawn();
    drop(os::fd::inherited(CONNECTION));
    let ended = started.and_then(|mut keeper| keeper.wait());
    std::thread::sleep(Duration::from_millis(300));
    if ended.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
