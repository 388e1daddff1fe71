use crate::place::{Place, until};
use std::process::Command;

/// Says what stands in the file `say`, then empties it.
const SAYER: &str = "while :; do if [ -s say ]; then cat say; cat say >&2; : > say; fi; sleep 0.02; done";

fn say(place: &Place, text: &str) {
    until("the line before to be said", || {
        std::fs::metadata(place.path("say")).map_or(true, |meta| meta.len() == 0)
    });
    place.write("say", &format!("{text}\n"));
}

#[test]
fn the_past_the_present_filters_and_forms() {
    let place = Place::new();
    place.write("app.sh", SAYER);
    place.ok(&["start", "app.sh", "--name", "api"]);
    say(&place, "one");
    say(&place, "two");
    until("both lines", || {
        std::fs::read_to_string(place.home("logs/api-error.log")).is_ok_and(|t| t == "one\ntwo\n")
    });
    let out = place.ok(&["logs", "--nostream", "--lines", "1"]);
    assert!(
        out.contains("[TAILING] Tailing last 1 lines for [all] processes"),
        "{out}"
    );
    assert!(
        out.contains("0|api      | two\n") && !out.contains("| one\n") && out.contains("PM2        | "),
        "{out}"
    );
    let out = place.ok(&["logs", "api", "--nostream", "--raw", "--out"]);
    assert!(out.contains("\none\ntwo\n") && !out.contains("|"), "{out}");

    let (all, errors) = (
        place.stream(&["logs", "api"]),
        place.stream(&["logs", "api", "--err", "--lines", "0"]),
    );
    let json = place.stream(&["logs", "/^ap/", "--json"]);
    all.wait_for("api-error.log last");
    // Their place on the bus was taken before the past was printed; those without a past are asked for till they answer.
    let mut n = 0;
    let mut heard = String::new();
    until("the JSON form", || {
        n += 1;
        say(&place, &format!("live {n}"));
        // What was said before it listened is not told to it: it is said again until it is heard.
        let Some(line) = json.hears("live") else {
            return false;
        };
        heard = line;
        heard.contains("\"type\"")
    });
    let value: serde_json::Value = serde_json::from_str(&heard).unwrap();
    assert_eq!(
        (&value["app_name"], &value["process_id"]),
        (&"api".into(), &0.into())
    );
    assert!(all.wait_for("live").starts_with("0|api  | live"));
    until("the errors alone", || {
        say(&place, "the last");
        errors
            .hears("the last")
            .is_some_and(|line| line == "0|api  | the last")
    });
}

#[test]
fn it_survives_rotation_and_the_death_of_the_daemon() {
    let place = Place::new();
    place.write("app.sh", SAYER);
    place.ok(&["start", "app.sh", "--name", "api"]);
    let stream = place.stream(&["logs", "api"]);
    stream.wait_for("TAILING");
    let mut n = 0;
    let mut hear = |place: &Place, what: &str| {
        n += 1;
        say(place, &format!("{what} {n}"));
        stream.wait_for(what);
    };
    // The stream stands as soon as the header is out.
    hear(&place, "first");
    std::fs::rename(place.home("logs/api-out.log"), place.home("logs/api-out.log.1")).unwrap();
    place.ok(&["reloadLogs"]);
    hear(&place, "rotated");
    until("a new file", || {
        std::fs::read_to_string(place.home("logs/api-out.log")).is_ok_and(|t| t.contains("rotated"))
    });
    let old = place.daemon_pid().unwrap();
    Command::new("kill")
        .args(["-9", &old.to_string()])
        .status()
        .unwrap();
    until("another daemon", || {
        place.daemon_pid().is_some_and(|pid| pid != old)
    });
    place.ok(&["ping"]);
    // The stream comes back by itself; lines of the time between are in the file.
    let again = std::thread::scope(|scope| {
        let talker = scope.spawn(|| {
            for n in 0..100 {
                say(&place, &format!("after {n}"));
            }
        });
        let line = stream.wait_for("after");
        talker.join().unwrap();
        line
    });
    assert!(again.starts_with("0|api"), "{again}");
}

#[test]
fn flush_empties_the_files() {
    let place = Place::new();
    place.write("app.sh", SAYER);
    place.ok(&["start", "app.sh", "--name", "api"]);
    let log = place.home("logs/api-out.log");
    say(&place, "one");
    until("a line", || {
        std::fs::read_to_string(&log).is_ok_and(|t| t == "one\n")
    });
    let out = place.ok(&["flush", "api"]);
    assert!(
        out.contains(&log.display().to_string()) && out.ends_with("[PM2] Logs flushed\n"),
        "{out}"
    );
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "");
    say(&place, "two");
    until("the next line", || {
        std::fs::read_to_string(&log).is_ok_and(|t| t == "two\n")
    });
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    place.write("app.sh", "while :; do echo line; sleep 0.02; done");
    place.ok(&["start", "app.sh", "--name", "api"]);
    let stream = place.stream(&["logs", "api", "--lines", "0"]);
    stream.wait_for("line");
    assert_eq!(stream.hang_up(), 0);
    // And one that is interrupted just ends.
    let stream = place.stream(&["logs", "api", "--lines", "0"]);
    stream.wait_for("line");
    stream.signal("-INT");
    assert_eq!(stream.hang_up(), -1);
}

#[test]
fn attached_and_in_the_foreground() {
    let place = Place::new();
    place.write("app.sh", "while :; do echo line of $name; sleep 0.02; done");
    place.ok(&["start", "app.sh", "--name", "other"]);
    let stream = place.stream(&["start", "app.sh", "--name", "api", "--attach"]);
    for _ in 0..5 {
        assert_eq!(stream.wait_for("line of"), "1|api  | line of api");
    }
    drop(stream);
    place.ok(&["kill"]);
    let stream = place.stream(&["start", "app.sh", "--name", "front", "--no-daemon"]);
    stream.wait_for("line of front");
    stream.signal("-TERM");
    assert_eq!(stream.hang_up(), 0);
    assert!(!place.home("pm2.pid").exists(), "everything ended with it");
}
