use crate::place::{Place, until};

#[test]
fn command_lines_programs_and_binaries() {
    let place = Place::new();
    place.ok(&["start", "echo first; sleep 600", "--name", "line"]);
    let line = &place.app("line")["pm2_env"];
    assert_eq!(line["args"], serde_json::json!(["-c", "echo first; sleep 600"]));
    place.ok(&["start", "sleep", "--", "600"]);
    let program = &place.app("sleep")["pm2_env"];
    assert!(program["pm_exec_path"].as_str().unwrap().ends_with("/sleep"));
    assert_eq!(
        (&program["exec_interpreter"], &program["args"]),
        (&"none".into(), &serde_json::json!(["600"]))
    );
    assert_eq!(place.status("sleep"), "online");
}

#[test]
fn a_running_script_is_started_again_by_force_only() {
    let place = Place::new();
    place.write("app.sh", "while :; do sleep 1; done");
    place.ok(&["start", "app.sh"]);
    let text = place.fails(&["start", "app.sh"]);
    assert_eq!(
        text,
        "[PM2][ERROR] Script already launched, add -f option to force re-execution\n"
    );
    place.ok(&["start", "app.sh", "-f"]);
    assert_eq!(place.list().len(), 2);
    place.ok(&["stop", "app"]);
    place.ok(&["start", "app.sh"]);
    assert!(place.list().iter().any(|p| p["pm2_env"]["status"] == "online"));
    assert_eq!(place.list().len(), 2);
}

#[test]
fn options_reach_the_app() {
    let place = Place::new();
    place.write("app.sh", "echo \"$MODE $1\"; exec sleep 600");
    let mut command = place.command(&[
        "start",
        "app.sh",
        "-n",
        "api",
        "--namespace",
        "web",
        "--max-memory-restart",
        "100M",
        "--no-autorestart",
        "-o",
        "logs/api.log",
        "--merge-logs",
        "--kill-timeout",
        "300",
        "--",
        "--flag",
    ]);
    let output = command.env("MODE", "fast").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("[PM2] Creating folder: "));
    let env = place.app("api")["pm2_env"].clone();
    assert_eq!(
        (
            &env["namespace"],
            &env["max_memory_restart"],
            &env["autorestart"],
            &env["kill_timeout"]
        ),
        (&"web".into(), &104_857_600.into(), &false.into(), &300.into())
    );
    let log = place.path("logs/api.log");
    until("its line", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text == "fast --flag\n")
    });
    // A plain restart keeps the environment, --update-env takes the new one.
    place.ok(&["restart", "api"]);
    until("its second line", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text == "fast --flag\nfast --flag\n")
    });
    let output = place
        .command(&["restart", "web", "--update-env"])
        .env("MODE", "slow")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    until("its third line", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.ends_with("slow --flag\n"))
    });
}

const APPS: &str = r#"{ apps: [ // two apps
  { name: "one", script: "app.sh", env: { MODE: "a" }, env_production: { MODE: "b" } },
  { name: "two", script: "app.sh", },
] }"#;

#[test]
fn a_restart_from_a_file_takes_the_named_environment() {
    let place = Place::new();
    place.write("app.sh", "while :; do sleep 1; done");
    place.write("apps.json", APPS);
    place.ok(&["start", "apps.json"]);
    place.ok(&["restart", "apps.json", "--only", "one", "--env", "production"]);
    assert_eq!(place.app("one")["pm2_env"]["MODE"], "b");
}

#[test]
fn configuration_files_in_all_forms() {
    let place = Place::new();
    place.write("app.sh", "while :; do sleep 1; done");
    place.write("apps.json", APPS);
    let said = place.run(&["start", "apps.json"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.out
            .contains("[PM2][WARN] Applications one, two not running, starting...\n"),
        "{said:?}"
    );
    assert!(
        said.out.contains("[PM2] App [one] launched (1 instances)"),
        "{said:?}"
    );
    assert_eq!(place.app("one")["pm2_env"]["MODE"], "a");
    place.ok(&["restart", "apps.json", "--only", "one", "--env", "production"]);
    assert_eq!(place.app("two")["pm2_env"]["restart_time"], 0);
    place.ok(&["stop", "apps.json"]);
    assert_eq!(
        (place.status("one"), place.status("two")),
        ("stopped".into(), "stopped".into())
    );
    place.ok(&["delete", "apps.json"]);
    place.ok(&["delete", "apps.json"]);
    assert!(place.list().is_empty());

    place.write("apps.yaml", "apps:\n  - name: three\n    script: app.sh\n");
    place.ok(&["start", "apps.yaml"]);
    let said = place.with_input(&["start", "-"], r#"[{"name":"four","script":"app.sh"}]"#);
    assert_eq!(said.code, 0, "{said:?}");
    place.ok(&["startOrRestart", "apps.yaml"]);
    let names: Vec<String> = place
        .list()
        .iter()
        .map(|p| p["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["three", "four"]);
    assert_eq!(place.app("three")["pm2_env"]["restart_time"], 1);
}
