use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::auth::Role;
use crate::testing::{Client, TestHub};

/// Every role and a stranger, against everything that a member may be refused.
#[tokio::test]
async fn each_role_may_do_what_it_may_and_no_more() {
    let hub = TestHub::start().await;
    let bucket = hub.welcome.bucket.id;
    let mut clients: Vec<(Option<Role>, Client<'_>)> = Vec::new();
    for role in [Role::User, Role::Developer, Role::Admin] {
        let (user, client) = hub.newcomer(role.as_str()).await;
        hub.state.catalog.set_member(bucket, user.id, role).await.unwrap();
        clients.push((Some(role), client));
    }
    clients.push((None, hub.newcomer("stranger").await.1));
    clients.push((Some(Role::Owner), hub.owner().await));

    let unknown = json!({ "email": "unknown@example.org" });
    let promote = json!({ "email": "unknown@example.org", "role": "admin" });
    // What is asked is refused for another reason to those who may: they get that far.
    let rows: [(Method, &str, Value, Role, StatusCode); 12] = [
        (Method::GET, "", json!({}), Role::User, StatusCode::OK),
        (
            Method::GET,
            "/users_authorized",
            json!({}),
            Role::User,
            StatusCode::OK,
        ),
        (
            Method::GET,
            "/current_role",
            json!({}),
            Role::User,
            StatusCode::OK,
        ),
        (
            Method::PUT,
            "/user_options",
            json!({ "options": {} }),
            Role::User,
            StatusCode::OK,
        ),
        (
            Method::POST,
            "/add_user",
            json!({ "email": "nowhere" }),
            Role::Admin,
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::DELETE,
            "/invitation?email=a@b",
            json!({}),
            Role::Admin,
            StatusCode::NOT_FOUND,
        ),
        (Method::GET, "/audit", json!({}), Role::Admin, StatusCode::OK),
        (
            Method::GET,
            "/audit/export",
            json!({}),
            Role::Admin,
            StatusCode::OK,
        ),
        (Method::POST, "/secret", json!({}), Role::Owner, StatusCode::OK),
        (
            Method::POST,
            "/remove_user",
            unknown.clone(),
            Role::Owner,
            StatusCode::NOT_FOUND,
        ),
        (
            Method::POST,
            "/promote_user",
            promote,
            Role::Owner,
            StatusCode::NOT_FOUND,
        ),
        (
            Method::PUT,
            "",
            json!({ "offline_after": 0 }),
            Role::Owner,
            StatusCode::BAD_REQUEST,
        ),
    ];
    for (method, path, body, least, passed) in rows {
        for (role, client) in &clients {
            let expected = match role {
                None => StatusCode::NOT_FOUND,
                Some(role) if *role < least => StatusCode::FORBIDDEN,
                Some(_) => passed,
            };
            let (status, answer) = client
                .call(method.clone(), &hub.bucket_path(path), body.clone())
                .await;
            assert_eq!(status, expected, "{role:?} {method} {path}: {answer}");
        }
    }
    for (role, client) in &clients[..4] {
        let (status, _) = client.delete(&hub.bucket_path("")).await;
        assert!(
            status == StatusCode::FORBIDDEN || role.is_none() && status == StatusCode::NOT_FOUND,
            "{role:?}"
        );
    }
    for (role, client) in &clients[..3] {
        let (_, seen) = client.get(&hub.bucket_path("")).await;
        let shown = seen["secret_id"] != "";
        assert_eq!(
            shown,
            *role >= Some(Role::Developer),
            "{role:?} and the secret key"
        );
    }
}

#[tokio::test]
async fn a_known_address_becomes_a_member_and_an_unknown_one_is_invited() {
    let hub = TestHub::start().await;
    let owner = hub.owner().await;
    let (known, _) = hub.newcomer("known").await;
    let add = |email: &str| json!({ "email": email });
    let (status, answer) = owner
        .post(&hub.bucket_path("/add_user"), add("KNOWN@example.org"))
        .await;
    assert_eq!((status, answer), (StatusCode::OK, json!({ "invitations": [] })));
    assert_eq!(
        hub.state
            .catalog
            .role(hub.welcome.bucket.id, known.id)
            .await
            .unwrap(),
        Some(Role::User)
    );
    assert_eq!(
        owner
            .post(&hub.bucket_path("/add_user"), add("known@example.org"))
            .await
            .0,
        StatusCode::BAD_REQUEST
    );

    let (_, answer) = owner
        .post(&hub.bucket_path("/add_user"), add("new@example.org"))
        .await;
    assert_eq!(answer["invitations"][0]["email"], "new@example.org");
    let link = answer["invitations"][0]["link"].as_str().unwrap();
    let code = link.strip_prefix("http://hub.test:8080/#/invite/").unwrap();
    let (status, shown) = hub.anonymous().get(&format!("/api/auth/invitation/{code}")).await;
    assert_eq!(
        (status, shown),
        (
            StatusCode::OK,
            json!({ "email": "new@example.org", "bucket": "My servers" })
        )
    );

    let register = |email: &str, code: &str| json!({ "username": "newcomer", "email": email, "password": "long enough", "invitation": code });
    let anonymous = hub.anonymous();
    let ask = |body| anonymous.post("/api/oauth/register", body);
    assert_eq!(
        ask(register("new@example.org", "guess")).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        ask(register("other@example.org", code)).await.0,
        StatusCode::FORBIDDEN
    );
    let (status, answer) = ask(register("New@example.org", code)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let mut client = hub.anonymous();
    client.token = Some(answer["access_token"]["token"].as_str().unwrap().into());
    assert_eq!(
        client.get(&hub.bucket_path("/current_role")).await.1,
        json!({ "role": "user" })
    );

    owner
        .post(&hub.bucket_path("/add_user"), add("gone@example.org"))
        .await;
    let (status, answer) = owner
        .delete(&hub.bucket_path("/invitation?email=gone%40example.org"))
        .await;
    assert_eq!((status, answer), (StatusCode::OK, json!({ "invitations": [] })));
}

#[tokio::test]
async fn members_are_promoted_muted_and_removed_but_the_owner_stays() {
    let hub = TestHub::start().await;
    let owner = hub.owner().await;
    let (user, client) = hub.newcomer("dev").await;
    owner
        .post(&hub.bucket_path("/add_user"), json!({ "email": user.email }))
        .await;

    let promote = |email: &str, role: &str| json!({ "email": email, "role": role });
    let (status, members) = owner
        .post(
            &hub.bucket_path("/promote_user"),
            promote(&user.email, "developer"),
        )
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&members[1]["email"], &members[1]["role"]),
        (&json!(user.email), &json!("developer"))
    );
    let path = hub.bucket_path("/promote_user");
    assert_eq!(
        owner.post(&path, promote(&user.email, "king")).await.0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        owner.post(&path, promote(&user.email, "owner")).await.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        owner.post(&path, promote("owner@example.org", "user")).await.0,
        StatusCode::FORBIDDEN
    );

    let mute = |email: &str| json!({ "email": email, "state": "none" });
    let (status, states) = client
        .post(&hub.bucket_path("/manage_notif"), mute(&user.email))
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(states[1], json!({ "email": user.email, "state": "none" }));
    let (status, _) = client
        .post(&hub.bucket_path("/manage_notif"), mute("owner@example.org"))
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN, "others are muted by admins");

    let path = hub.bucket_path("/remove_user");
    assert_eq!(
        owner.post(&path, json!({ "email": "owner@example.org" })).await.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        client.post(&path, json!({ "email": user.email })).await.0,
        StatusCode::OK,
        "everybody may leave"
    );
    assert_eq!(client.get(&hub.bucket_path("")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_bucket_is_handed_over() {
    let hub = TestHub::start().await;
    let owner = hub.owner().await;
    let (heir, client) = hub.newcomer("heir").await;
    let path = hub.bucket_path("/transfer_ownership");
    let to = |email: &str| json!({ "new_owner": email });
    assert_eq!(
        owner.post(&path, to("nobody@example.org")).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        owner.post(&path, to("owner@example.org")).await.0,
        StatusCode::BAD_REQUEST
    );
    let (status, answer) = owner.post(&path, to(&heir.email)).await;
    assert_eq!((status, &answer["role"]), (StatusCode::OK, &json!("admin")));
    assert_eq!(
        client.get(&hub.bucket_path("/current_role")).await.1,
        json!({ "role": "owner" })
    );
    assert_eq!(
        owner.post(&path, to("owner@example.org")).await.0,
        StatusCode::FORBIDDEN
    );

    let (_, trail) = client.get(&hub.bucket_path("/audit?limit=1")).await;
    let newest = &trail["entries"][0];
    assert_eq!(
        (&newest["what"], &newest["target"]),
        (&json!("transfer_bucket"), &json!("heir@example.org"))
    );
}
