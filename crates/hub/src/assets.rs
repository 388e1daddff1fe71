//! The dashboard, embedded: whatever `web/dist` held when this program was built.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
struct Dist;

/// Everything comes from here, and nothing is inline.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; \
    connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const NOT_BUILT: &str = "<!doctype html><meta charset=utf-8><title>Pilothouse</title>\
    <p>The hub runs, but this program was built without the dashboard. Run <code>cargo xtask web</code> and build again.";

/// Answers everything that is no route: files of the dashboard, and its page for the addresses within it.
pub async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path == "api" || path.starts_with("api/") || path.starts_with("interaction/") {
        return crate::api::ApiError::not_found(&format!("route {method} /{path}")).into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let wanted = if path.is_empty() { "index.html" } else { path };
    if let Some(response) = file(wanted, &headers) {
        return response;
    }
    // A name with a dot is a file that is not there; anything else is an address inside the dashboard.
    let is_page = !wanted.rsplit('/').next().unwrap_or_default().contains('.');
    if !is_page && wanted != "index.html" {
        return StatusCode::NOT_FOUND.into_response();
    }
    file("index.html", &headers).unwrap_or_else(|| page(Cow::Borrowed(NOT_BUILT.as_bytes())))
}

fn page(body: Cow<'static, [u8]>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, CSP),
    ];
    (headers, body).into_response()
}

fn file(path: &str, headers: &HeaderMap) -> Option<Response> {
    let accepted = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let plain = Dist::get(path)?;
    let packed = [("br", ".br"), ("gzip", ".gz")]
        .into_iter()
        .find_map(|(coding, suffix)| {
            let wanted = accepted
                .split(',')
                .any(|item| item.split(';').next().is_some_and(|name| name.trim() == coding));
            wanted
                .then(|| Dist::get(&format!("{path}{suffix}")))?
                .map(|file| (coding, file))
        });
    let etag = format!("\"{}\"", hex::encode(&plain.metadata.sha256_hash()[..16]));
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|tags| {
            tags.split(',')
                .any(|tag| tag.trim().trim_start_matches("W/") == etag)
        });
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else if path.ends_with(".html") {
        page(packed.as_ref().map_or(plain.data, |(_, file)| file.data.clone()))
    } else {
        let kind = mime_guess::from_path(path).first_or_octet_stream();
        let body = packed.as_ref().map_or(plain.data, |(_, file)| file.data.clone());
        ([(header::CONTENT_TYPE, kind.to_string())], body).into_response()
    };
    let out = response.headers_mut();
    if let Some((coding, _)) = packed.filter(|_| !known) {
        out.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    out.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    out.insert(header::ETAG, HeaderValue::from_str(&etag).ok()?);
    let cache = if is_hashed(path) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    Some(response)
}

/// Names such as `assets/index-4f9ac1d2.js` change with what is in the file.
fn is_hashed(path: &str) -> bool {
    path.starts_with("assets/")
        && path
            .rsplit_once('.')
            .and_then(|(stem, _)| stem.rsplit_once(['-', '.']))
            .is_some_and(|(_, hash)| {
                hash.len() >= 8 && hash.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_with_a_hash_are_kept_for_ever() {
        for (path, hashed) in [
            ("assets/index-4f9ac1d2.js", true),
            ("assets/index-B_x81Kd2.css", true),
            ("assets/logo.svg", false),
            ("index.html", false),
            ("favicon-12345678.ico", false),
        ] {
            assert_eq!(is_hashed(path), hashed, "{path}");
        }
    }

    #[tokio::test]
    async fn addresses_of_the_dashboard_get_its_page_and_files_that_are_not_there_do_not() {
        let get = |path: &str| serve(Method::GET, path.parse().unwrap(), HeaderMap::new());
        for page in ["/", "/bucket/abc"] {
            let response = get(page).await;
            assert_eq!(response.status(), StatusCode::OK, "{page}");
            assert_eq!(response.headers()[header::CONTENT_SECURITY_POLICY], CSP);
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache");
        }
        assert_eq!(
            get("/assets/none-12345678.js").await.status(),
            StatusCode::NOT_FOUND
        );
        assert_eq!(get("/../Cargo.toml").await.status(), StatusCode::NOT_FOUND);
        assert_eq!(
            get("/api/nothing").await.headers()[header::CONTENT_TYPE],
            "application/json"
        );
        let post = serve(Method::POST, Uri::from_static("/"), HeaderMap::new()).await;
        assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
