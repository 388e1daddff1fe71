//! Bodies and addresses of requests, as PM2's clients send them.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::body::Bytes;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::ApiError;
use crate::ports::Door;
use crate::state::AppState;

/// A request's body: JSON, or a form when the header says so. No body is `{}`: clients send one or the other with
/// every method.
#[derive(Debug)]
pub struct Input<T>(pub T);

impl<T: DeserializeOwned> FromRequest<AppState> for Input<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let is_form = request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
        if is_form {
            return match axum::Form::<T>::from_request(request, state).await {
                Ok(form) => Ok(Self(form.0)),
                Err(error) => Err(ApiError::bad_request(format!(
                    "cannot read the form: {}",
                    error.body_text()
                ))),
            };
        }
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|error| ApiError::bad_request(format!("cannot read the body: {}", error.body_text())))?;
        let body: &[u8] = if body.trim_ascii().is_empty() {
            b"{}"
        } else {
            &body
        };
        serde_json::from_slice(body)
            .map(Self)
            .map_err(|error| ApiError::bad_request(format!("the body is not what this route takes: {error}")))
    }
}

/// The address under which the one who asks reaches this hub: `http://host:port`, no slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(pub String);

impl Origin {
    fn of(parts: &Parts, state: &AppState) -> Self {
        if let Some(public) = &state.options.public_url {
            return Self(public.trim_end_matches('/').to_owned());
        }
        let door = parts.extensions.get::<Door>().copied().unwrap_or(Door::Main);
        // A request by way of an HTTP proxy names scheme and host in its first line: they come before the header.
        let host = parts
            .uri
            .authority()
            .map(axum::http::uri::Authority::as_str)
            .or_else(|| parts.headers.get(HOST)?.to_str().ok())
            // Whoever sends a Host header decides what they themselves are told; but it must stay an address.
            .filter(|host| {
                !host.is_empty()
                    && host
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b".-:[]_".contains(&b))
            })
            .unwrap_or("localhost");
        let https = parts.uri.scheme_str() == Some("https") || forwarded_https(parts);
        let origin = format!("{}://{host}", if https { "https" } else { "http" });
        Self(state.ports.root(origin, door))
    }

    /// Whether it is reached over TLS.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }
}

/// A proxy that ends TLS says so. One who lies here gets links with the wrong scheme, and nothing else.
fn forwarded_https(parts: &Parts) -> bool {
    parts
        .headers
        .get("x-forwarded-proto")
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"https"))
}

impl FromRequestParts<AppState> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        Ok(Self::of(parts, state))
    }
}

/// The address that the request came from, when it came over a socket: its client's, if a proxy that was named brought it.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub Option<IpAddr>);

impl FromRequestParts<AppState> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let client =
            |info: &ConnectInfo<SocketAddr>| state.options.proxies.client(info.0.ip(), &parts.headers);
        Ok(Self(peer.map(client)))
    }
}
