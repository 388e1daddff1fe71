use crate::place::Place;

#[test]
fn what_is_saved_comes_back() {
    let place = Place::new();
    place.write("app.sh", "while :; do sleep 1; done");
    place.ok(&["start", "app.sh", "--name", "api", "--", "-x"]);
    place.ok(&["start", "app.sh", "--name", "idle"]);
    place.ok(&["stop", "idle"]);
    place.ok(&["unmonitor", "api"]);
    let out = place.ok(&["save"]);
    assert!(
        out.contains("[PM2] Saving current process list...\n[PM2] Successfully saved in "),
        "{out}"
    );
    place.ok(&["kill"]);
    let out = place.ok(&["resurrect"]);
    assert!(
        out.contains("[PM2] Resurrecting\n[PM2] Restoring processes located in "),
        "{out}"
    );
    assert_eq!(
        (place.status("api"), place.status("idle")),
        ("online".into(), "stopped".into())
    );
    let api = &place.app("api")["pm2_env"];
    assert_eq!(
        (&api["args"], &api["_km_monitored"]),
        (&serde_json::json!(["-x"]), &false.into())
    );
    // Names that are there are left alone.
    place.ok(&["resurrect"]);
    assert_eq!(place.list().len(), 2);
}

#[test]
fn an_empty_list_does_not_overwrite_and_a_broken_file_is_kept_aside() {
    let place = Place::new();
    place.write("app.sh", "while :; do sleep 1; done");
    place.ok(&["start", "app.sh"]);
    place.ok(&["save"]);
    place.ok(&["delete", "all"]);
    place.ok(&["save"]);
    let dump = place.home("dump.pm2");
    assert!(std::fs::read_to_string(&dump).unwrap().contains("app.sh"));
    place.ok(&["save", "--force"]);
    assert_eq!(std::fs::read_to_string(&dump).unwrap(), "[]");
    // The copy holds the list from before.
    std::fs::write(&dump, "[{ broken").unwrap();
    let said = place.run(&["resurrect"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.err.contains("not JSON at line 1") && said.err.contains("it was moved to "),
        "{said:?}"
    );
    assert_eq!(place.status("app"), "online");
    let aside = std::fs::read_dir(place.home("")).unwrap().flatten();
    let names: Vec<String> = aside
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        names.iter().any(|name| name.starts_with("dump.pm2.broken-")),
        "{names:?}"
    );
    place.ok(&["cleardump"]);
    assert_eq!(std::fs::read_to_string(&dump).unwrap(), "[]");
}
