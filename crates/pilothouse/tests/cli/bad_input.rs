use crate::place::Place;
use std::os::unix::net::UnixListener;

#[test]
fn unknown_targets_and_verbs() {
    let place = Place::new();
    place.write("app.sh", "while :; do sleep 1; done");
    place.ok(&["start", "app.sh", "--name", "worker"]);
    assert_eq!(
        place.fails(&["stop", "nope"]),
        "[PM2][ERROR] Process or Namespace nope not found\n"
    );
    assert_eq!(
        place.fails(&["restart", "wroker"]),
        "[PM2][ERROR] Process or Namespace wroker not found; did you mean worker?\n"
    );
    assert!(place.fails(&["stop", "77"]).contains("77 : id unknown"));
    assert!(
        place
            .fails(&["describe", "wroker"])
            .contains("wroker doesn't exist; did you mean worker?")
    );
    assert!(place.fails(&["stop", "/[/"]).contains("/[/"));
    let err = place.fails(&["strat", "app.sh"]);
    assert!(
        err.contains("Command not found") && err.contains("start"),
        "{err}"
    );
    assert_eq!(
        place.fails(&["start", "app.sh", "--nope"]),
        "\n  error: unknown option `--nope'\n\n"
    );
    assert_eq!(
        place.fails(&["scale", "worker"]),
        "\n  error: missing required argument `number'\n\n"
    );
    assert_eq!(place.status("worker"), "online");
}

#[test]
fn bad_configurations_are_named_with_place_and_reason() {
    let place = Place::new();
    place.write(
        "bad.json",
        "{\n  \"apps\": [\n    { \"script\": \"app.sh\" \"name\": \"x\" }\n  ]\n}\n",
    );
    let err = place.fails(&["start", "bad.json"]);
    assert!(err.contains("[PM2][ERROR] File bad.json malformated"), "{err}");
    assert!(err.contains("bad.json:3"), "{err}");
    place.write("bad.yaml", "apps:\n  - script: app.sh\n   name: x\n");
    let err = place.fails(&["start", "bad.yaml"]);
    assert!(
        err.contains("bad.yaml malformated") && err.contains("bad.yaml:"),
        "{err}"
    );
    assert!(
        place
            .fails(&["start", "none.json"])
            .contains("File none.json not found")
    );
    place.write("app.sh", "sleep 600");
    place.write(
        "types.json",
        r#"{"apps":[{"name":"a","script":"app.sh"},{"name":"b","script":"app.sh","max_restarts":"many"}]}"#,
    );
    let err = place.fails(&["start", "types.json"]);
    assert!(
        err.contains(r#"Expect "max_restarts" to be a typeof [object Number], but now is [object String]"#),
        "{err}"
    );
    assert!(place.list().is_empty(), "a mistake in one app starts none");
    let said = place.with_input(&["start", "-"], "not json at all");
    assert_eq!(said.code, 1, "{said:?}");
}

#[test]
fn scripts_that_cannot_be_run() {
    let place = Place::new();
    assert!(place.fails(&["start", "none.js"]).contains("Script not found: "));
    std::fs::create_dir(place.path("folder")).unwrap();
    assert!(place.fails(&["start", "./folder"]).contains("is a folder"));
    let script = place.write("secret.sh", "sleep 600");
    assert!(
        place
            .fails(&["start", "secret.sh", "--interpreter", "no-such-program"])
            .contains("is NOT AVAILABLE")
    );
    // Root may read everything.
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    if std::fs::File::open(&script).is_err() {
        let err = place.fails(&["start", "secret.sh"]);
        assert!(
            err.contains("secret.sh") && err.contains("ermission denied"),
            "{err}"
        );
    }
    assert!(
        place
            .fails(&["start", "secret.sh", "--uid", "nobody-of-this-name"])
            .contains("nobody-of-this-name")
    );
    assert!(place.list().is_empty());
}

#[test]
fn a_socket_that_somebody_else_holds_is_named() {
    let place = Place::new();
    std::fs::create_dir_all(place.home("")).unwrap();
    let socket = place.home("rpc.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let answering = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"SSH-2.0-OpenSSH_9.7\r\n").unwrap();
        // It listens until the client has had enough.
        let _ = peer.read_to_end(&mut Vec::new());
    });
    let err = place.fails(&["ls"]);
    assert!(err.contains(&socket.display().to_string()), "{err}");
    assert!(err.contains("does not speak PM2's protocol"), "{err}");
    answering.join().unwrap();
    std::fs::remove_file(&socket).unwrap();
}

#[test]
fn a_socket_that_never_answers_is_named() {
    let place = Place::new();
    std::fs::create_dir_all(place.home("")).unwrap();
    let socket = place.home("rpc.sock");
    // Connections are taken by the kernel; nobody reads them.
    let listener = UnixListener::bind(&socket).unwrap();
    for verb in ["ls", "reloadLogs"] {
        let err = place.fails(&[verb]);
        assert!(
            err.contains(&format!("no answer on {} within", socket.display())),
            "{err}"
        );
    }
    drop(listener);
    std::fs::remove_file(&socket).unwrap();
}

#[test]
fn a_home_that_cannot_be_made_is_named() {
    let place = Place::new();
    place.write("home", "a file where the home should be");
    let err = place.fails(&["ls"]);
    assert!(err.contains("home"), "{err}");
    std::fs::remove_file(place.path("home")).unwrap();
}

#[test]
fn the_inner_roles_are_not_for_people() {
    let place = Place::new();
    assert!(place.fails(&["daemon"]).contains("started by its keeper"));
    assert!(place.fails(&["keeper"]).contains("usage: keeper --home DIR"));
}
