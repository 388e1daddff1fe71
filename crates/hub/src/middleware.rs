//! What happens to every request around its handler.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use tower_http::cors::{Any, CorsLayer};
use tracing::Instrument;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Brings a path to its plain form before routing: PM2's clients ask with and without a slash at the end, and with two
/// at the start. Scheme and host of a request by way of a proxy stay as they are.
pub(crate) fn plain_path(mut request: Request) -> Request {
    let path = request.uri().path();
    if path.contains("//") || (path.len() > 1 && path.ends_with('/')) {
        let mut plain = String::with_capacity(path.len());
        for part in path.split('/').filter(|part| !part.is_empty()) {
            plain.push('/');
            plain.push_str(part);
        }
        if plain.is_empty() {
            plain.push('/');
        }
        if let Some(query) = request.uri().query() {
            plain.push('?');
            plain.push_str(query);
        }
        let mut parts = request.uri().clone().into_parts();
        if let Ok(plain) = plain.parse::<PathAndQuery>() {
            parts.path_and_query = Some(plain);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
    request
}

/// Numbers each request, puts the number into its log lines and its answer, and logs it once, at its end. The query
/// stays out of the log: sockets and downloads carry tokens there.
pub(crate) async fn observe(request: Request, next: Next) -> Response {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let (method, path) = (request.method().clone(), loggable(request.uri().path()));
    let begun = Instant::now();
    let span = tracing::info_span!("request", id);
    async move {
        let mut response = next.run(request).await;
        let (status, duration_ms) = (response.status().as_u16(), begun.elapsed().as_millis());
        if response.status().is_server_error() {
            tracing::warn!(%method, path, status, duration_ms, "answered");
        } else {
            tracing::debug!(%method, path, status, duration_ms, "answered");
        }
        let headers = response.headers_mut();
        // Answers hold keys, and are of this moment; files say themselves how long they are good.
        if !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        headers.insert(REQUEST_ID, HeaderValue::from(id));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        response
    }
    .instrument(span)
    .await
}

/// Paths in which the last part opens something.
fn loggable(path: &str) -> String {
    for secret in [
        "/api/oauth/authorize/",
        "/api/auth/invitation/",
        "/api/oauth/valid_email/",
    ] {
        if path.starts_with(secret) {
            return format!("{secret}…");
        }
    }
    path.chars().take(300).collect()
}

/// Pages from anywhere may use the API with a token: no cookie counts there. They may read `Date`, from which PM2's
/// client learns how far its clock is off.
pub(crate) fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("x-js-api-version"),
        ])
        .expose_headers([header::DATE, REQUEST_ID])
        .max_age(Duration::from_secs(3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_plain() {
        for (given, plain) in [
            ("/api/bucket/", "/api/bucket"),
            ("//api/node/verifyPM2", "/api/node/verifyPM2"),
            ("/api//bucket/?a=/b/", "/api/bucket?a=/b/"),
            ("/", "/"),
            ("//", "/"),
            (
                "https://id.keymetrics.io/api/oauth/token/",
                "https://id.keymetrics.io/api/oauth/token",
            ),
            ("/api/bucket", "/api/bucket"),
        ] {
            let request = Request::builder()
                .uri(given)
                .body(axum::body::Body::empty())
                .unwrap();
            assert_eq!(plain_path(request).uri().to_string(), plain, "{given}");
        }
    }

    #[test]
    fn codes_in_paths_are_not_logged() {
        assert_eq!(loggable("/api/auth/invitation/abc"), "/api/auth/invitation/…");
        assert_eq!(loggable("/api/bucket/abc"), "/api/bucket/abc");
    }
}
