//! One request to a hub's API, for the command line: by the way, and with the trust, that the link has too.

use super::dial::{Line, dial};
use super::{socket, tls};
use crate::config::{self, AddressError};
use crate::proxy::{self, Proxy, ProxyError, Said};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HeaderValue;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio_rustls::TlsConnector;

/// From the first byte to the last of the answer.
const TIME: Duration = Duration::from_secs(20);
/// Longest answer.
const MAX_ANSWER: usize = 4 << 20;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Root address of the hub, as [`config::normal_root`] gives it.
    pub root: &'a str,
    /// `GET`, `POST` …
    pub method: &'a str,
    /// From the slash on.
    pub path: &'a str,
    /// The access token, where one is needed.
    pub token: Option<&'a str>,
    /// Sent as JSON; `Null` sends nothing.
    pub body: &'a Value,
}

/// The hub could not be asked.
#[derive(Debug, Error)]
pub enum AskError {
    /// Its address cannot be one.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The address of the proxy cannot be one.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// It was not reached, or said what is no answer.
    #[error("{0}")]
    Way(String),
}

/// Asks, and waits for the answer: the HTTP status, and the body as JSON (`Null` if it is none).
///
/// # Errors
/// No answer came. A refusal is an answer.
pub fn ask(ask: Ask<'_>, env: impl Fn(&str) -> Option<String>) -> Result<(u16, Value), AskError> {
    let way = |error: &dyn std::fmt::Display| AskError::Way(error.to_string());
    let root = config::normal_root(ask.root)?;
    let proxy = match proxy::from_environment(env, &root) {
        Said::By(address, name) => Some(Proxy::parse(&address, name)?),
        Said::Direct | Said::Nothing => None,
    };
    let tls = tls::client_config(&[]).map_err(|e| way(&e))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| way(&e))?;
    let host_port = socket::host_port(&config::websocket_url(&root)?);
    let answer = runtime.block_on(async {
        match tokio::time::timeout(TIME, exchange(&ask, &root, &host_port, proxy.as_ref(), &tls)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("{host_port} did not answer within {} s", TIME.as_secs())),
        }
    });
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    answer.map_err(AskError::Way)
}

async fn exchange(
    ask: &Ask<'_>,
    root: &str,
    host_port: &str,
    proxy: Option<&Proxy>,
    tls: &Arc<rustls::ClientConfig>,
) -> Result<(u16, Value), String> {
    let uri: hyper::Uri = root.parse().map_err(|_| "a bad address".to_owned())?;
    let mut requests = connect(&uri, host_port, proxy, tls).await?;
    let path = format!("{}{}", uri.path().trim_end_matches('/'), ask.path);
    let body = match ask.body {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    let mut request = Request::builder()
        .method(ask.method)
        .uri(path)
        .header("host", uri.authority().map_or("", |a| a.as_str()))
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .header("user-agent", concat!("Pilothouse ", env!("CARGO_PKG_VERSION")));
    if let Some(token) = ask.token {
        // A credential: no error shows it.
        let mut value =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| "a bad token".to_owned())?;
        value.set_sensitive(true);
        request = request.header("authorization", value);
    }
    let request = request
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| e.to_string())?;
    let answer = requests
        .send_request(request)
        .await
        .map_err(|e| format!("asking {host_port}: {e}"))?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|e| format!("reading the answer of {host_port}: {e}"))?;
    Ok((
        status,
        serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null),
    ))
}

async fn connect(
    uri: &hyper::Uri,
    host_port: &str,
    proxy: Option<&Proxy>,
    tls: &Arc<rustls::ClientConfig>,
) -> Result<SendRequest<Full<Bytes>>, String> {
    let Line { io, .. } = dial(host_port, proxy, tls).await?;
    let failed = |e: hyper::Error| format!("speaking HTTP with {host_port}: {e}");
    if uri
        .scheme_str()
        .is_some_and(|scheme| scheme == "https" || scheme == "wss")
    {
        let host = uri.host().unwrap_or_default().to_owned();
        let name = rustls::pki_types::ServerName::try_from(host).map_err(|e| e.to_string())?;
        let io = TlsConnector::from(tls.clone())
            .connect(name, io)
            .await
            .map_err(|e| format!("securing the connection to {host_port}: {e}"))?;
        let (requests, connection) = handshake(TokioIo::new(io)).await.map_err(failed)?;
        tokio::spawn(connection);
        Ok(requests)
    } else {
        let (requests, connection) = handshake(TokioIo::new(io)).await.map_err(failed)?;
        tokio::spawn(connection);
        Ok(requests)
    }
}
