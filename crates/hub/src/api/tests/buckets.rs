use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::json;

use crate::testing::TestHub;

#[tokio::test]
async fn a_bucket_has_the_members_that_clients_read() {
    let hub = TestHub::start().await;
    let client = hub.owner().await;
    for path in ["/api/bucket", "/api/bucket/"] {
        let (status, list) = client.get(path).await;
        assert_eq!(
            (status, list.as_array().unwrap().len()),
            (StatusCode::OK, 1),
            "{path}"
        );
    }
    let (status, bucket) = client.get(&hub.bucket_path("")).await;
    assert_eq!(status, StatusCode::OK);
    let id = bucket["_id"].as_str().unwrap();
    assert!(
        id.len() == 24 && id.bytes().all(|b| b.is_ascii_hexdigit()),
        "{id}"
    );
    assert_eq!(bucket["id"], bucket["_id"]);
    for key in ["public_id", "secret_id"] {
        let key = bucket[key].as_str().unwrap();
        assert!(
            key.len() == 15 && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
            "{key}"
        );
    }
    assert_eq!(bucket["payment"]["offer_type"], "unlimited");
    assert_eq!(bucket["credits"]["offer_type"], "unlimited");
    let endpoints = json!({ "web": "http://hub.test:8080", "realtime": "http://hub.test:8080" });
    assert_eq!(bucket["node"]["endpoints"], endpoints);
    assert_eq!(bucket["node_cache"]["endpoints"], endpoints);
    assert_eq!(bucket["role"], "owner");
}

#[tokio::test]
async fn a_request_by_way_of_a_proxy_is_told_the_address_it_asked() {
    let hub = TestHub::start().await;
    let token = hub.owner().await.token.unwrap();
    let request = Request::get("https://api.keymetrics.io/api/bucket/")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::HOST, "hub.test")
        .body(Body::empty())
        .unwrap();
    let response = hub.send(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let list: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(list[0]["node"]["endpoints"]["web"], "https://api.keymetrics.io");
}

#[tokio::test]
async fn buckets_are_made_changed_and_deleted_by_their_owner() {
    let hub = TestHub::start().await;
    let (_, client) = hub.newcomer("maker").await;
    let (status, made) = client
        .post(
            "/api/bucket/create_classic",
            json!({ "name": " PM2 Plus Monitoring " }),
        )
        .await;
    assert_eq!(status, StatusCode::OK, "{made}");
    assert_eq!(made["bucket"]["name"], "PM2 Plus Monitoring");
    let path = format!("/api/bucket/{}", made["bucket"]["_id"].as_str().unwrap());

    let change = json!({ "name": "Shop", "configuration": r#"{"a":1}"#, "offline_after": 60, "plan": "pro_4", "max_servers": 3 });
    let (status, changed) = client.put(&path, change).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    assert_eq!(
        (
            &changed["name"],
            &changed["configuration"],
            &changed["offline_after"],
            &changed["plan"],
            &changed["max_servers"]
        ),
        (
            &json!("Shop"),
            &json!({ "a": 1 }),
            &json!(60),
            &json!("pro_4"),
            &json!(3)
        )
    );
    let (_, unlimited) = client.put(&path, json!({ "max_servers": 0 })).await;
    assert_eq!(unlimited["max_servers"], 0);
    for bad in [
        json!({ "name": "" }),
        json!({ "name": "x".repeat(101) }),
        json!({ "plan": "pro_0" }),
        json!({ "plan": "gold" }),
        json!({ "offline_after": 1 }),
        json!({ "max_servers": 100_001 }),
        json!({ "max_servers": -1 }),
        json!({ "configuration": "[]" }),
    ] {
        assert_eq!(
            client.put(&path, bad.clone()).await.0,
            StatusCode::BAD_REQUEST,
            "{bad}"
        );
    }

    let stranger = hub.owner().await;
    assert_eq!(stranger.get(&path).await.0, StatusCode::NOT_FOUND);
    assert_eq!(stranger.delete(&path).await.0, StatusCode::NOT_FOUND);
    assert_eq!(client.delete(&path).await.0, StatusCode::OK);
    assert_eq!(client.get(&path).await.0, StatusCode::NOT_FOUND);
    assert_eq!(client.get("/api/bucket").await.1, json!([]));
}

#[tokio::test]
async fn nobody_gets_in_without_a_token() {
    let hub = TestHub::start().await;
    let client = hub.anonymous();
    for path in [
        "/api/bucket",
        &hub.bucket_path(""),
        "/api/users/isLogged",
        &hub.bucket_path("/users_authorized"),
    ] {
        let (status, answer) = client.get(path).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(answer["msg"].is_string());
    }
    assert_eq!(client.get("/api/node/default").await.0, StatusCode::OK);
    assert_eq!(
        client.get("/api/bucket/nonsense").await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        hub.owner().await.get("/api/bucket/nonsense").await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn pages_from_elsewhere_may_use_the_api_with_a_token() {
    let hub = TestHub::start().await;
    let ask = Request::builder()
        .method(Method::OPTIONS)
        .uri("/api/bucket")
        .header(header::ORIGIN, "https://elsewhere.example")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "PUT")
        .header(
            header::ACCESS_CONTROL_REQUEST_HEADERS,
            "authorization,x-js-api-version",
        )
        .body(Body::empty())
        .unwrap();
    let response = hub.send(ask).await;
    assert_eq!(response.status(), StatusCode::OK);
    let list = |name| response.headers()[name].to_str().unwrap().to_lowercase();
    assert!(list(header::ACCESS_CONTROL_ALLOW_HEADERS).contains("x-js-api-version"));
    assert!(list(header::ACCESS_CONTROL_ALLOW_METHODS).contains("put"));
    assert!(
        !response
            .headers()
            .contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS)
    );

    let get = Request::get("/api/bucket").header(header::ORIGIN, "https://elsewhere.example");
    let response = hub.send(get.body(Body::empty()).unwrap()).await;
    assert!(
        response.headers()[header::ACCESS_CONTROL_EXPOSE_HEADERS]
            .to_str()
            .unwrap()
            .to_lowercase()
            .contains("date")
    );
    assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let hub = TestHub::start().await;
    let body = json!({ "name": "x".repeat(2 << 20) });
    assert_eq!(
        hub.owner().await.post("/api/bucket/create_classic", body).await.0,
        StatusCode::BAD_REQUEST
    );
}
