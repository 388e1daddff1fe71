use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::json;

use crate::testing::{NOW_MS, OWNER_PASSWORD, TestHub};

#[tokio::test]
async fn a_password_buys_tokens_and_a_refresh_token_buys_more() {
    let hub = TestHub::start().await;
    let body = json!({ "grant_type": "password", "client_id": "1", "username": "OWNER@example.org", "password": OWNER_PASSWORD });
    let (status, first) = hub.anonymous().post("/api/oauth/token", body).await;
    assert_eq!(status, StatusCode::OK, "{first}");
    assert_eq!(first["token_type"], "Bearer");
    assert_eq!(first["expire_at"], "2023-11-14T23:13:20.000Z");
    let refresh = first["refresh_token"].as_str().unwrap();
    assert_eq!(refresh.len(), 64);
    assert!(
        refresh
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
        "{refresh}"
    );

    let mut client = hub.anonymous();
    client.token = Some("null".into());
    let body = json!({ "client_id": 795_984_050, "refresh_token": refresh, "grant_type": "refresh_token" });
    let (status, second) = client.post("/api/oauth/token/", body).await;
    assert_eq!(status, StatusCode::OK, "{second}");
    assert_eq!(second["refresh_token"], refresh, "it is not exchanged");
    assert_ne!(second["access_token"], first["access_token"]);

    client.token = Some(second["access_token"].as_str().unwrap().into());
    assert_eq!(client.get("/api/bucket").await.0, StatusCode::OK);
    client.token = Some(refresh.into());
    assert_eq!(
        client.get("/api/bucket").await.0,
        StatusCode::UNAUTHORIZED,
        "a refresh token opens nothing"
    );
}

#[tokio::test]
async fn forms_are_taken_as_well() {
    let hub = TestHub::start().await;
    let request = Request::post("/api/oauth/token")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(
            "grant_type=password&username=owner&password=correct+horse+battery",
        ))
        .unwrap();
    assert_eq!(hub.send(request).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_refused_token_is_never_401() {
    let hub = TestHub::start().await;
    for (body, error) in [
        (json!({}), "invalid_request"),
        (json!([]), "invalid_request"),
        (
            json!({ "grant_type": "refresh_token", "refresh_token": "unknown" }),
            "invalid_grant",
        ),
        (
            json!({ "grant_type": "password", "username": "owner", "password": "wrong" }),
            "invalid_grant",
        ),
        (
            json!({ "grant_type": "password", "username": "nobody", "password": "wrong" }),
            "invalid_grant",
        ),
        (json!({ "grant_type": "magic" }), "unsupported_grant_type"),
    ] {
        let (status, answer) = hub.anonymous().post("/api/oauth/token", body.clone()).await;
        assert_eq!(
            (status, answer["error"].as_str()),
            (StatusCode::BAD_REQUEST, Some(error)),
            "{body}"
        );
        assert_eq!(answer["error_description"], answer["msg"]);
        assert!(
            answer["msg"].as_str().is_some_and(|text| !text.is_empty()),
            "{body}"
        );
    }
}

#[tokio::test]
async fn guessing_is_slowed_down_even_with_the_right_password_at_the_end() {
    let hub = TestHub::start().await;
    let login =
        |password: &str| json!({ "grant_type": "password", "username": "owner", "password": password });
    let mut refused = StatusCode::OK;
    for _ in 0..20 {
        refused = hub.anonymous().post("/api/oauth/token", login("wrong")).await.0;
        if refused != StatusCode::BAD_REQUEST {
            break;
        }
    }
    assert_eq!(refused, StatusCode::TOO_MANY_REQUESTS);
    let (status, answer) = hub
        .anonymous()
        .post("/api/oauth/token", login(OWNER_PASSWORD))
        .await;
    assert_eq!(
        (status, answer["error"].as_str()),
        (StatusCode::TOO_MANY_REQUESTS, Some("slow_down"))
    );
    hub.state.clock.set(NOW_MS + 61_000);
    assert_eq!(
        hub.anonymous()
            .post("/api/oauth/token", login(OWNER_PASSWORD))
            .await
            .0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn an_access_token_ends_with_its_time_or_its_revocation() {
    let hub = TestHub::start().await;
    let client = hub.owner().await;
    assert_eq!(client.get("/api/users/isLogged").await.0, StatusCode::OK);
    hub.state.clock.set(NOW_MS + 3_600_000);
    assert_eq!(
        client.get("/api/users/isLogged").await.0,
        StatusCode::UNAUTHORIZED
    );

    let client = hub.owner().await;
    assert_eq!(
        client.post("/api/oauth/revoke", json!({})).await.0,
        StatusCode::OK
    );
    assert_eq!(
        client.get("/api/users/isLogged").await.0,
        StatusCode::UNAUTHORIZED
    );
    let body = json!({ "grant_type": "refresh_token", "refresh_token": client.refresh_token });
    assert_eq!(
        client.post("/api/oauth/token", body).await.0,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn a_terminal_logs_in_by_way_of_a_ticket() {
    let hub = TestHub::start().await;
    assert_eq!(
        hub.anonymous()
            .get("/api/oauth/authorize?client_id=0943857435")
            .await
            .0,
        StatusCode::FOUND
    );
    let login = |password: &str| {
        Request::post("/api/oauth/login")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(
                json!({ "username": "owner", "password": password }).to_string(),
            ))
            .unwrap()
    };
    let refused = hub.send(login("wrong")).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(!refused.headers().contains_key("x-redirect"));

    let accepted = hub.send(login(OWNER_PASSWORD)).await;
    assert_eq!(accepted.status(), StatusCode::OK);
    let path = accepted.headers()["x-redirect"].to_str().unwrap().to_owned();
    let redeem = || Request::get(path.as_str()).body(Body::empty()).unwrap();
    let redirect = hub.send(redeem()).await;
    assert_eq!(redirect.status(), StatusCode::FOUND);
    let location = redirect.headers()[header::LOCATION].to_str().unwrap();
    let token = location
        .strip_prefix("http://localhost:43532/?access_token=")
        .and_then(|rest| rest.strip_suffix("&token_type=refresh_token"))
        .unwrap();
    let body = json!({ "grant_type": "refresh_token", "refresh_token": token });
    assert_eq!(
        hub.anonymous().post("/api/oauth/token", body).await.0,
        StatusCode::OK
    );
    assert_eq!(
        hub.send(redeem()).await.status(),
        StatusCode::NOT_FOUND,
        "a ticket is good once"
    );
}

#[tokio::test]
async fn accounts_are_made_by_invitation_unless_registration_is_open() {
    let hub = TestHub::start().await;
    let body = json!({ "username": "stranger", "email": "stranger@example.org", "password": "long enough" });
    let (status, _) = hub.anonymous().post("/api/oauth/register", body.clone()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);

    let open = TestHub::with(|options| options.registration = true).await;
    let (status, answer) = open.anonymous().post("/api/oauth/register", body.clone()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["user"]["username"], "stranger");
    let mut client = open.anonymous();
    client.token = Some(answer["access_token"]["token"].as_str().unwrap().into());
    assert_eq!(client.get("/api/bucket").await, (StatusCode::OK, json!([])));
    assert_eq!(
        open.anonymous().post("/api/oauth/register", body).await.0,
        StatusCode::CONFLICT
    );

    for bad in [
        json!({ "username": "x", "email": "x@y", "password": "long enough" }),
        json!({ "username": "a@b", "email": "x@y", "password": "long enough" }),
        json!({ "username": "xx", "email": "nowhere", "password": "long enough" }),
        json!({ "username": "xx", "email": "x@y", "password": "short" }),
        json!({ "username": "xx" }),
    ] {
        assert_eq!(
            open.anonymous().post("/api/oauth/register", bad.clone()).await.0,
            StatusCode::BAD_REQUEST,
            "{bad}"
        );
    }
}
