use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use crate::testing::{OWNER_PASSWORD, TestHub};

fn post(path: &str, cookie: Option<&str>, body: &Value) -> Request<Body> {
    let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    if let Some(cookie) = cookie {
        request = request.header(header::COOKIE, cookie);
    }
    request.body(Body::from(body.to_string())).unwrap()
}

async fn body(response: Response) -> Value {
    serde_json::from_slice(&axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_browser_session_lives_in_a_cookie_that_scripts_cannot_read() {
    let hub = TestHub::start().await;
    let credentials = json!({ "username": "owner", "email": "owner", "password": OWNER_PASSWORD });
    let response = hub.send(post("/api/auth/login", None, &credentials)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let set = response.headers()[header::SET_COOKIE]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        set.contains("; HttpOnly; SameSite=Strict; Max-Age=2592000"),
        "{set}"
    );
    assert!(!set.contains("Secure"), "this came over plain HTTP");
    let answer = body(response).await;
    assert!(answer.get("refresh_token").is_none(), "scripts do not get it");
    assert_eq!(answer["user"]["username"], "owner");

    let cookie = format!("theme=dark; {}", set.split(';').next().unwrap());
    let response = hub
        .send(post("/api/auth/refresh", Some(&cookie), &json!({})))
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    let answer = body(response).await;
    let mut client = hub.anonymous();
    client.token = Some(answer["access_token"].as_str().unwrap().into());
    assert_eq!(client.get("/api/bucket").await.0, StatusCode::OK);

    let response = hub
        .send(post("/api/auth/logout", Some(&cookie), &json!({})))
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(
        response.headers()[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    assert_eq!(client.get("/api/bucket").await.0, StatusCode::UNAUTHORIZED);
    let response = hub
        .send(post("/api/auth/refresh", Some(&cookie), &json!({})))
        .await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn no_session_without_the_password_or_from_another_site() {
    let hub = TestHub::start().await;
    let wrong = json!({ "username": "owner", "password": "wrong" });
    let response = hub.send(post("/api/auth/login", None, &wrong)).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        body(response).await,
        json!({ "msg": "wrong user name or password" })
    );
    let mut request = post(
        "/api/auth/login",
        None,
        &json!({ "username": "owner", "password": OWNER_PASSWORD }),
    );
    request
        .headers_mut()
        .insert("sec-fetch-site", "cross-site".parse().unwrap());
    assert_eq!(hub.send(request).await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn behind_tls_the_cookie_is_secure() {
    let hub = TestHub::with(|options| options.public_url = Some("https://hub.example.org".into())).await;
    let credentials = json!({ "username": "owner", "password": OWNER_PASSWORD });
    let response = hub.send(post("/api/auth/login", None, &credentials)).await;
    assert!(
        response.headers()[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .ends_with("; Secure")
    );
}

#[tokio::test]
async fn guesses_all_at_once_are_as_few_as_one_after_the_other() {
    let hub = TestHub::start().await;
    let guesses = (0..100).map(|n| {
        let guess = json!({ "username": "owner", "password": format!("guess {n}") });
        hub.send(post("/api/auth/login", None, &guess))
    });
    let answers = futures_util::future::join_all(guesses).await;
    let tried = answers
        .iter()
        .filter(|answer| answer.status() == StatusCode::FORBIDDEN)
        .count();
    let refused = answers
        .iter()
        .filter(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS)
        .count();
    assert_eq!(tried + refused, 100);
    // As many as are free, and those that had their turn in the same moment.
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    assert!(tried < 8 + at_once, "{tried} passwords were tried");
}

#[tokio::test]
async fn who_asks_is_told_by_a_proxy_that_was_named() {
    let named = |options: &mut crate::HubOptions| {
        options.proxies = ["10.0.0.0/8".parse().unwrap()].into_iter().collect();
    };
    let hub = TestHub::with(named).await;
    let from = |client: &str, password: &str| {
        let body = json!({ "username": "owner", "password": password });
        let mut request = post("/api/auth/login", None, &body);
        let proxy: std::net::SocketAddr = "10.0.0.1:4711".parse().unwrap();
        request.extensions_mut().insert(axum::extract::ConnectInfo(proxy));
        request
            .headers_mut()
            .insert("x-forwarded-for", client.parse().unwrap());
        hub.send(request)
    };
    for n in 0..8 {
        let answer = from("192.0.2.1", &format!("guess {n}")).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    }
    let answer = from("192.0.2.1", OWNER_PASSWORD).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    let answer = from("192.0.2.2", OWNER_PASSWORD).await;
    assert_eq!(answer.status(), StatusCode::OK, "whose name it is, elsewhere");
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
}
