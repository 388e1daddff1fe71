use crate::place::Place;
use serde_json::Value;

#[test]
fn a_machine_without_keys_is_told_where_they_are() {
    let place = Place::new();
    let err = place.fails(&["link"]);
    assert!(err.contains("key") && err.contains("hub"), "{err}");
    assert!(!place.home("agent.json5").exists());
    assert!(place.fails(&["link", "info"]).contains("not linked"));
    let err = place.fails(&["link", "a-lonely-secret-key"]);
    assert!(
        err.contains("one key is not enough") && !err.contains("lonely"),
        "{err}"
    );
    // These are quick and content without a daemon, and start none.
    place.ok(&["link", "delete"]);
    place.ok(&["unlink"]);
    assert!(!place.home("pm2.pid").exists());
}

#[test]
fn linking_to_a_hub_and_back() {
    let place = Place::new();
    let hub = place.stream(&["hub", "--data", "hub", "--listen", "127.0.0.1:0", "--json"]);
    let facts: Value = serde_json::from_str(&hub.wait_for("url")).unwrap();
    let fact = |name: &str| facts[name].as_str().unwrap().to_owned();
    let (url, secret, public) = (fact("url"), fact("secret_key"), fact("public_key"));

    let said = place.run(&["link", &secret, &public, "web-1", "--info-node", &url]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("[v] Linked: web-1 is shown at "), "{said:?}");
    assert!(
        !said.out.contains(&secret) && !said.err.contains(&secret),
        "a secret was printed"
    );
    let stored = std::fs::read_to_string(place.home("agent.json5")).unwrap();
    let info = place.ok(&["link", "info"]);
    assert!(
        info.contains("web-1") && info.contains(&public) && !info.contains(&secret),
        "{info}"
    );
    assert!(info.contains("Connected       : yes"), "{info}");

    // The keys the other way round, without a name: the name is kept, the file is as it was.
    let said = place.run(&["link", &public, &secret]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!said.out.contains(&secret), "a secret was printed");
    assert_eq!(
        std::fs::read_to_string(place.home("agent.json5")).unwrap(),
        stored
    );

    let err = place.fails(&["link", "wrongwrongwrong", "otherotherother"]);
    assert!(err.contains("refused"), "{err}");
    assert_eq!(
        std::fs::read_to_string(place.home("agent.json5")).unwrap(),
        stored
    );
    let said = place.run(&["link"]);
    assert_eq!(said.code, 0, "{said:?}");

    place.ok(&["link", "stop"]);
    assert!(place.ok(&["link", "info"]).contains("State           : stopped"));
    place.ok(&["unlink"]);
    assert!(!place.home("agent.json5").exists());
}
