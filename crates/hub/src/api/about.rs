//! What anybody may ask: the addresses that firewalls must let through, and where to turn with questions.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::input::Origin;
use crate::state::AppState;

/// How long the look-up of the hub's own name may take.
const LOOK_UP: Duration = Duration::from_secs(2);

/// `/ips` and `/api/about`.
pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/ips", get(ips))
        .route("/api/about", get(about))
}

async fn about(State(state): State<AppState>) -> Json<Value> {
    Json(json!({ "version": env!("CARGO_PKG_VERSION"), "support_url": state.options.support_url }))
}

/// What an agent must be able to reach: one host, one port, and the addresses behind it.
async fn ips(State(state): State<AppState>, Origin(origin): Origin) -> Json<Value> {
    let (host, port) = place(&origin);
    let mut addresses: Vec<IpAddr> = host.parse().into_iter().collect();
    // A name from a request's header is anybody's word: only the operator's own is looked up.
    if addresses.is_empty() && state.options.public_url.is_some() {
        let found = tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((host.as_str(), port))).await;
        if let Ok(Ok(found)) = found {
            addresses = found.map(|address| address.ip()).collect();
            addresses.sort_unstable();
            addresses.dedup();
        }
    }
    Json(json!({ "host": host, "port": port, "addresses": addresses }))
}

/// Host and port of a root address.
fn place(origin: &str) -> (String, u16) {
    let default = if origin.starts_with("https:") { 443 } else { 80 };
    let rest = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().unwrap_or(default)),
        _ => (authority, default),
    };
    (host.trim_matches(['[', ']']).to_owned(), port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestHub;

    #[test]
    fn hosts_and_ports() {
        for (origin, host, port) in [
            ("https://hub.example.org", "hub.example.org", 443),
            ("http://10.0.0.1:8080", "10.0.0.1", 8080),
            ("https://hub.example.org:8443/base", "hub.example.org", 8443),
            ("http://[::1]:9", "::1", 9),
            ("http://[::1]", "::1", 80),
        ] {
            assert_eq!(place(origin), (host.to_owned(), port), "{origin}");
        }
    }

    #[tokio::test]
    async fn s40_the_addresses_to_allow_are_told_to_anybody() {
        let hub = TestHub::with(|options| options.public_url = Some("https://127.0.0.1:8443".into())).await;
        let (status, body) = hub.anonymous().get("/ips").await;
        assert_eq!(status, 200);
        assert_eq!(
            body,
            json!({ "host": "127.0.0.1", "port": 8443, "addresses": ["127.0.0.1"] })
        );
        let hub =
            TestHub::with(|options| options.support_url = Some("https://issues.example.org".into())).await;
        let (_, body) = hub.anonymous().get("/ips").await;
        assert_eq!(body["host"], "hub.test");
        assert_eq!(
            body["addresses"],
            json!([]),
            "a name out of a header is not looked up"
        );
        let (_, body) = hub.anonymous().get("/api/about").await;
        assert_eq!(body["support_url"], "https://issues.example.org");
    }
}
