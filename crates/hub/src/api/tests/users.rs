use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::testing::{OWNER_PASSWORD, TestHub};

#[tokio::test]
async fn one_sees_and_changes_oneself() {
    let hub = TestHub::start().await;
    let client = hub.owner().await;
    let (status, me) = client.get("/api/users/isLogged").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        me,
        json!({
            "_id": hub.welcome.owner.id,
            "username": "owner",
            "email": "owner@example.org",
            "authorized_bucket": [hub.welcome.bucket.id],
            "info": {},
        })
    );
    let (status, me) = client
        .post(
            "/api/users/update",
            json!({ "username": "captain", "info": { "a": [1] } }),
        )
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&me["username"], &me["info"]),
        (&json!("captain"), &json!({ "a": [1] }))
    );

    hub.newcomer("taken").await;
    assert_eq!(
        client
            .post("/api/users/update", json!({ "username": "Taken" }))
            .await
            .0,
        StatusCode::CONFLICT
    );
    assert_eq!(
        client
            .post("/api/users/update", json!({ "email": "nowhere" }))
            .await
            .0,
        StatusCode::BAD_REQUEST
    );
    let huge = json!({ "info": { "a": "x".repeat(70_000) } });
    assert_eq!(
        client.post("/api/users/update", huge).await.0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        client.delete("/api/users/delete").await.0,
        StatusCode::FORBIDDEN,
        "an owner stays"
    );

    let (_, other) = hub.newcomer("other").await;
    assert_eq!(other.delete("/api/users/delete").await.0, StatusCode::OK);
    assert_eq!(other.get("/api/users/isLogged").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_new_password_ends_all_other_sessions() {
    let hub = TestHub::start().await;
    let (client, elsewhere) = (hub.owner().await, hub.owner().await);
    let change = |old: &str| json!({ "old_password": old, "new_password": "another horse" });
    assert_eq!(
        client.post("/api/users/update", change("wrong")).await.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        client
            .post("/api/users/update", json!({ "new_password": "another horse" }))
            .await
            .0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        client.post("/api/users/update", change(OWNER_PASSWORD)).await.0,
        StatusCode::OK
    );
    assert_eq!(client.get("/api/users/isLogged").await.0, StatusCode::OK);
    assert_eq!(
        elsewhere.get("/api/users/isLogged").await.0,
        StatusCode::UNAUTHORIZED
    );
    let login = json!({ "grant_type": "password", "username": "owner", "password": "another horse" });
    assert_eq!(
        hub.anonymous().post("/api/oauth/token", login).await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn the_old_password_is_not_guessed_under_ever_new_addresses() {
    let hub = TestHub::start().await;
    let thief = hub.owner().await;
    let mut slowed = false;
    for n in 0..20 {
        // What is told in the same request is nobody yet.
        let guess = json!({
            "email": format!("somebody{n}@example.org"), "old_password": format!("guess {n}"), "new_password": "long enough",
        });
        let (status, _) = thief.post("/api/users/update", guess).await;
        slowed |= status == StatusCode::TOO_MANY_REQUESTS;
    }
    assert!(slowed);
    let (_, me) = thief.get("/api/users/isLogged").await;
    assert_eq!(me["email"], "owner@example.org");
}

#[tokio::test]
async fn people_of_other_buckets_are_nobodys_business() {
    let hub = TestHub::start().await;
    let (stranger, client) = hub.newcomer("stranger").await;
    let owner = hub.welcome.owner.id;
    assert_eq!(
        client.get(&format!("/api/users/show/{owner}")).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(client.get("/api/users/show/me").await.0, StatusCode::BAD_REQUEST);
    let (status, _) = hub
        .owner()
        .await
        .post(&hub.bucket_path("/add_user"), json!({ "email": stranger.email }))
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        client.get(&format!("/api/users/show/{owner}")).await,
        (
            StatusCode::OK,
            json!({ "email": "owner@example.org", "username": "owner" })
        )
    );
}

#[tokio::test]
async fn personal_tokens_are_made_listed_used_and_revoked() {
    let hub = TestHub::start().await;
    let client = hub.owner().await;
    assert_eq!(
        client.put("/api/users/token/", json!({})).await.0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        client
            .put("/api/users/token/", json!({ "scope": ["root"] }))
            .await
            .0,
        StatusCode::BAD_REQUEST
    );
    let (status, made) = client.put("/api/users/token/", json!({ "scope": ["all"] })).await;
    assert_eq!(status, StatusCode::OK);
    let secret = made["token"].as_str().unwrap().to_owned();

    let use_it = json!({ "grant_type": "refresh_token", "client_id": "1", "refresh_token": secret });
    let (status, bought) = hub.anonymous().post("/api/oauth/token", use_it.clone()).await;
    assert_eq!(status, StatusCode::OK);
    let (_, list) = client.get("/api/users/token/").await;
    assert_eq!(list.as_array().unwrap().len(), 2, "with the one of this session");
    assert!(!list.to_string().contains(&secret), "a token is told once");
    // Both were made in the same moment, so that their order says nothing.
    let (own, others): (Vec<&Value>, Vec<&Value>) = list
        .as_array()
        .unwrap()
        .iter()
        .partition(|token| token["_id"] == made["_id"]);
    assert_eq!(own[0]["last_used_at"], "2023-11-14T22:13:00.000Z");
    assert_eq!(others[0]["last_used_at"], Value::Null);

    let (_, stranger) = hub.newcomer("stranger").await;
    let path = format!("/api/users/token/{}", made["_id"].as_str().unwrap());
    assert_eq!(stranger.delete(&path).await.0, StatusCode::NOT_FOUND);
    let (status, left) = client.delete(&path).await;
    assert_eq!((status, left.as_array().unwrap().len()), (StatusCode::OK, 1));
    assert_eq!(
        hub.anonymous().post("/api/oauth/token", use_it).await.0,
        StatusCode::BAD_REQUEST
    );
    let mut revoked = hub.anonymous();
    revoked.token = Some(bought["access_token"].as_str().unwrap().into());
    assert_eq!(
        revoked.get("/api/bucket").await.0,
        StatusCode::UNAUTHORIZED,
        "what it bought is void too"
    );
}
