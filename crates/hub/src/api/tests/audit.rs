use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use crate::store::catalog::AuditEntry;
use crate::testing::{NOW_MS, TestHub};

async fn note(hub: &TestHub, at_ms: i64, target: &str, outcome: &str) {
    let entry = AuditEntry {
        bucket: hub.welcome.bucket.id,
        at_ms,
        who: "owner@example.org".into(),
        what: "restart".into(),
        target: target.into(),
        outcome: outcome.into(),
        detail: json!({ "took_ms": 7 }).to_string(),
    };
    hub.state.catalog.audit(entry).await.unwrap();
}

fn targets(page: &Value) -> Vec<&str> {
    let entries = page["entries"].as_array().unwrap();
    entries.iter().map(|e| e["target"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_trail_is_told_page_by_page_and_searched() {
    let hub = TestHub::start().await;
    let owner = hub.owner().await;
    for n in 1..=5 {
        // Two of each millisecond, so that pages end within one.
        note(&hub, NOW_MS + n / 2, &format!("web/api/{n}"), "ok").await;
    }
    note(&hub, NOW_MS, "db/worker", "the policy says no").await;
    let ask = |rest: String| {
        let path = hub.bucket_path(&format!("/audit?limit=2{rest}"));
        let owner = &owner;
        async move {
            let (status, page) = owner.get(&path).await;
            assert_eq!(status, StatusCode::OK, "{page}");
            page
        }
    };
    let mut page = ask(String::new()).await;
    assert_eq!(
        page["entries"][0],
        json!({ "at": "2023-11-14T22:13:20.002Z", "who": "owner@example.org", "what": "restart",
                "target": "web/api/5", "outcome": "ok", "detail": { "took_ms": 7 } })
    );
    let mut seen: Vec<String> = Vec::new();
    loop {
        seen.extend(targets(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { break };
        page = ask(format!("&before={next}")).await;
    }
    let numbered = [5, 4, 3, 2].map(|n| format!("web/api/{n}"));
    assert_eq!(seen[..4], numbered);
    assert_eq!(seen[4..], ["db/worker", "web/api/1"]);
    assert_eq!(targets(&ask("&search=POLICY".into()).await), ["db/worker"]);
    assert!(targets(&ask("&search=%25".into()).await).is_empty());
    for wrong in [
        "before=soon",
        "before=1-x",
        &format!("search={}", "x".repeat(300)),
    ] {
        let (status, _) = owner.get(&hub.bucket_path(&format!("/audit?{wrong}"))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn the_whole_trail_is_exported_and_no_cell_of_it_is_a_formula() {
    let hub = TestHub::start().await;
    for n in 0..1_203 {
        note(&hub, NOW_MS + n, &format!("web/api/{n}"), "ok").await;
    }
    note(&hub, NOW_MS + 5_000, "=HYPERLINK(\"http://x\")", "a, \"b\"\nc").await;
    let token = hub.owner().await.token.unwrap();
    let request = Request::builder()
        .uri(hub.bucket_path("/audit/export"))
        .header(header::AUTHORIZATION, format!("Bearer {token}"));
    let response = hub.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "text/csv; charset=utf-8"
    );
    let named = response.headers()[header::CONTENT_DISPOSITION].to_str().unwrap();
    assert!(named.starts_with("attachment; filename=\"audit-"), "{named}");
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let mut rows = csv::Reader::from_reader(&bytes[..]);
    assert_eq!(
        rows.headers().unwrap(),
        vec!["at", "who", "what", "target", "outcome", "detail"]
    );
    let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 1_204);
    assert_eq!(
        (&rows[0][3], &rows[0][4]),
        ("'=HYPERLINK(\"http://x\")", "a, \"b\"\nc")
    );
    assert_eq!(
        (&rows[1][3], &rows[1_203][3], &rows[1_203][0]),
        ("web/api/1202", "web/api/0", "2023-11-14T22:13:20.000Z")
    );
}
