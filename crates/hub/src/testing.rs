//! A hub without a listener, for tests of routes: requests go straight into the router.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

use crate::auth::{Grant, PROGRAM_SESSION_MS};
use crate::clock::Clock;
use crate::options::{HubOptions, OwnerPreset};
use crate::server::{Assembled, assemble, routes};
use crate::setup::{Welcome, set_up};
use crate::state::AppState;
use crate::store::catalog::User;

/// When the clock of a [`TestHub`] stands: 14 November 2023, 22:13:20 UTC.
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;
pub(crate) const OWNER_PASSWORD: &str = "correct horse battery";

/// A hub as after its first start.
pub(crate) struct TestHub {
    pub(crate) state: AppState,
    pub(crate) welcome: Welcome,
    router: Router,
    _stop: tokio::sync::watch::Sender<bool>,
    _folder: TempDir,
}

impl TestHub {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With options other than the usual.
    pub(crate) async fn with(change: impl FnOnce(&mut HubOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = HubOptions::new(folder.path());
        options.owner = OwnerPreset {
            email: Some("owner@example.org".into()),
            password: Some(OWNER_PASSWORD.into()),
        };
        change(&mut options);
        let preset = options.owner.clone();
        let Assembled { state, stop, .. } =
            assemble(options, Clock::held(NOW_MS), crate::ports::Ports::default()).unwrap();
        let welcome = set_up(&state, &preset).await.unwrap().unwrap();
        Self {
            router: routes(state.clone()),
            state,
            welcome,
            _stop: stop,
            _folder: folder,
        }
    }

    /// The path of something in the first bucket.
    pub(crate) fn bucket_path(&self, rest: &str) -> String {
        format!("/api/bucket/{}{rest}", self.welcome.bucket.id)
    }

    /// Somebody with an access token.
    pub(crate) async fn login(&self, user: &User) -> Client<'_> {
        let grant = Grant::open(&self.state, user.clone(), "test", PROGRAM_SESSION_MS)
            .await
            .unwrap();
        Client {
            hub: self,
            token: Some(grant.access_token),
            refresh_token: grant.refresh_token,
        }
    }

    pub(crate) async fn owner(&self) -> Client<'_> {
        self.login(&self.welcome.owner).await
    }

    /// A new account (without a usable password), logged in.
    pub(crate) async fn newcomer(&self, name: &str) -> (User, Client<'_>) {
        let user = crate::api::new_user(&self.state, name, &format!("{name}@example.org"))
            .ok()
            .unwrap();
        let user = self
            .state
            .catalog
            .create_user(user, "unusable".into())
            .await
            .unwrap();
        let client = self.login(&user).await;
        (user, client)
    }

    /// Nobody.
    pub(crate) fn anonymous(&self) -> Client<'_> {
        Client {
            hub: self,
            token: None,
            refresh_token: String::new(),
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response {
        self.router
            .clone()
            .oneshot(crate::middleware::plain_path(request))
            .await
            .unwrap()
    }
}

/// Somebody who sends requests.
pub(crate) struct Client<'a> {
    hub: &'a TestHub,
    pub(crate) token: Option<String>,
    pub(crate) refresh_token: String,
}

impl Client<'_> {
    /// Sends a request as PM2's client does: with a JSON body, whatever the method. Gives status and body.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "hub.test:8080")
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = self
            .hub
            .send(request.body(Body::from(body.to_string())).unwrap())
            .await;
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.call(Method::GET, path, serde_json::json!({})).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call(Method::POST, path, body).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call(Method::PUT, path, body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (StatusCode, Value) {
        self.call(Method::DELETE, path, serde_json::json!({})).await
    }
}
