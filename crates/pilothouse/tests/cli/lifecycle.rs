use crate::place::{Place, until};
use std::path::Path;

#[test]
fn an_app_from_start_to_delete() {
    let place = Place::new();
    let script = place.write("app.sh", "while :; do sleep 1; done");
    let out = place.ok(&["start", "app.sh"]);
    let path = script.display();
    assert!(out.contains("[PM2] Spawning PM2 daemon with pm2_home="), "{out}");
    assert!(out.contains("[PM2] PM2 Successfully daemonized"), "{out}");
    assert!(
        out.contains(&format!(
            "[PM2] Starting {path} in fork_mode (1 instance)\n[PM2] Done.\n"
        )),
        "{out}"
    );
    let first = place.app("app");
    assert_eq!(
        (&first["pm_id"], &first["pm2_env"]["exec_interpreter"]),
        (&0.into(), &"bash".into())
    );
    let pid = first["pid"].as_u64().unwrap();
    assert!(Path::new(&format!("/proc/{pid}")).exists());

    let table = place.ok(&["ls"]);
    assert!(table.contains("│ app ") && table.contains("│ online "), "{table}");

    let out = place.ok(&["restart", "app"]);
    assert!(
        out.contains("Use --update-env to update environment variables\n"),
        "{out}"
    );
    assert!(
        out.contains("[PM2] Applying action restartProcessId on app [app](ids: [ 0 ])\n[PM2] [app](0) ✓\n"),
        "{out}"
    );
    let second = place.app("app");
    assert_ne!(second["pid"], first["pid"]);
    assert_eq!(second["pm2_env"]["restart_time"], 1);

    place.ok(&["stop", "0"]);
    assert_eq!(
        (place.status("app").as_str(), &place.app("app")["pid"]),
        ("stopped", &0.into())
    );
    let out = place.ok(&["start", "app"]);
    assert!(out.contains("[PM2] Process successfully started"), "{out}");
    assert_eq!(place.status("app"), "online");

    place.ok(&["delete", "all"]);
    assert!(place.list().is_empty());
    let out = place.ok(&["kill"]);
    assert!(
        out.ends_with("[PM2] [v] All Applications Stopped\n[PM2] [v] PM2 Daemon Stopped\n"),
        "{out}"
    );
    assert!(!place.home("pm2.pid").exists());
    // Again, without a daemon: quick, content, and none is started.
    let said = place.run(&["kill"]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (0, "[PM2][WARN] No process found\n")
    );
    assert!(!place.home("pm2.pid").exists());
}

#[test]
fn two_commands_that_start_the_daemon_at_once_share_it() {
    let place = Place::new();
    let children: Vec<_> = (0..4)
        .map(|_| place.command(&["ping"]).spawn().unwrap())
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(String::from_utf8_lossy(&output.stdout).ends_with("{ msg: 'pong' }\n"));
    }
    let log = std::fs::read_to_string(place.home("pm2.log")).unwrap();
    assert_eq!(log.matches("New PM2 Daemon started").count(), 1, "{log}");
}

#[test]
fn the_daemon_comes_back_after_its_death_and_apps_never_notice() {
    let place = Place::new();
    place.write("app.sh", "while :; do sleep 1; done");
    place.ok(&["start", "app.sh"]);
    let (app, daemon) = (place.app("app")["pid"].clone(), place.daemon_pid().unwrap());
    std::process::Command::new("kill")
        .args(["-9", &daemon.to_string()])
        .status()
        .unwrap();
    until("another daemon", || {
        place.daemon_pid().is_some_and(|pid| pid != daemon)
    });
    assert_eq!(place.app("app")["pid"], app);
}

#[test]
fn scale_id_pid_reset_and_describe() {
    let place = Place::new();
    place.write("app.sh", "while :; do sleep 1; done");
    place.ok(&["start", "app.sh", "-i", "2", "--name", "api"]);
    assert_eq!(place.ok(&["id", "api"]), "[ 0, 1 ]\n");
    assert!(
        place
            .ok(&["scale", "api", "+1"])
            .contains("[PM2] Scaling up application")
    );
    assert_eq!(place.list().len(), 3);
    place.ok(&["scale", "api", "1"]);
    assert_eq!(place.ok(&["id", "api"]), "[ 2 ]\n");
    assert!(place.fails(&["scale", "api", "1"]).contains("Nothing to do"));
    let pid = place.app("api")["pid"].to_string();
    assert_eq!(place.ok(&["pid", "api"]), format!("{pid}\n"));
    place.ok(&["restart", "api"]);
    place.ok(&["reset", "api"]);
    assert_eq!(place.app("api")["pm2_env"]["restart_time"], 0);
    let text = place.ok(&["describe", "api"]);
    assert!(
        text.contains(" Describing process with id 2 - name api "),
        "{text}"
    );
    assert!(text.contains("│ exec mode         │ fork_mode"), "{text}");
    assert!(place.ok(&["env", "2"]).contains("HOME: "));
}

#[test]
fn unmonitored_rows_are_marked_and_nothing_else_changes() {
    let place = Place::new();
    place.write("app.sh", "while :; do sleep 1; done");
    place.ok(&["start", "app.sh", "--name", "api"]);
    place.ok(&["start", "app.sh", "--name", "other"]);
    let before = place.app("api");
    let out = place.ok(&["unmonitor", "api"]);
    assert!(out.contains("│ [U] api"), "{out}");
    assert!(!out.contains("[U] other"), "{out}");
    let colours = place.command(&["ls"]).env("FORCE_COLOR", "1").output().unwrap();
    let colours = String::from_utf8(colours.stdout).unwrap();
    assert_eq!(colours.matches("\u{1b}[31m●\u{1b}[39m").count(), 1, "{colours}");
    let after = place.app("api");
    assert_eq!(
        (&after["pid"], &after["pm2_env"]["_km_monitored"]),
        (&before["pid"], &false.into())
    );
    place.ok(&["restart", "api"]);
    assert_eq!(place.app("api")["pm2_env"]["_km_monitored"], false);
    assert!(!place.ok(&["monitor", "all"]).contains("[U]"));
    assert!(place.fails(&["unmonitor", "nope"]).contains("nope"));
    assert!(
        place
            .fails(&["unmonitor"])
            .contains("Please specify an <app_name|pm_id>")
    );
}

#[test]
fn it_is_pm2_when_it_is_called_so() {
    let place = Place::new();
    let link = place.path("pm2");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pilothouse"), &link).unwrap();
    let run = |args: &[&str]| place.command_as(&link, args).output().unwrap();
    assert_eq!(String::from_utf8(run(&["-v"]).stdout).unwrap(), "7.0.4\n");
    let usage = run(&[]);
    assert_eq!(usage.status.code(), Some(1));
    assert!(usage.stdout.starts_with(b"usage: pm2 [options] <command>\n"));
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    assert!(
        help.contains("Usage: pm2") && !help.contains("Pilothouse "),
        "{help}"
    );
    assert!(place.ok(&["--help"]).contains("Pilothouse "));
    assert!(!place.home("").exists(), "none of these needs a home");
}
