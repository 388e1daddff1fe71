//! Goes the way to the hub step by step, as the agent goes it, and writes down what it meets. Nothing is linked by it.

use super::dial::{Io, look_up, pass, place_of};
use super::facts::now_ms;
use super::socket::{Address, host_port, reason, try_open};
use super::tls;
use crate::checkup::{Answer, Facts, HubSays, Patient, Step, TlsFault, TlsTrouble};
use crate::config;
use crate::link::{OpenError, answered};
use crate::proxy::Proxy;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::header::{DATE, HeaderMap, HeaderValue};
use hyper_util::rt::TokioIo;
use rustls::{CertificateError, ClientConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What each step may take; with all of them the whole is bounded.
const STEP: Duration = Duration::from_secs(4);
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 6;
/// Largest answer of a hub.
const MAX_ANSWER: usize = 64 << 10;

/// Goes the way and comes back with what was met, within half a minute at most. Blocks; needs no runtime.
///
/// # Errors
/// The way cannot be begun: the address makes no sense, or the system gives no threads.
pub fn look(patient: &Patient) -> Result<Facts, String> {
    let settings = &patient.settings;
    let url = config::websocket_url(&settings.root).map_err(|e| e.to_string())?;
    let tls = tls::client_config(&patient.authorities).map_err(|e| e.to_string())?;
    let address = Address {
        host_port: host_port(&url),
        url,
        proxy: settings.proxy.clone(),
        tls,
        authorization: format!("Bearer {}.{}", settings.public_key, settings.secret_key),
        machine: patient.machine.map(|id| id.to_string()).unwrap_or_default(),
        user_agent: format!("Pilothouse agent {}", env!("CARGO_PKG_VERSION")),
    };
    let mut facts = Facts {
        name: settings.machine_name.clone(),
        root: settings.root.clone(),
        host_port: address.host_port.clone(),
        is_secure: address.url.starts_with("wss:"),
        proxy: settings.proxy.as_ref().map(ToString::to_string),
        proxy_login: settings.proxy.as_ref().is_some_and(|proxy| proxy.login.is_some()),
        pm2_version: patient.pm2_version.clone(),
        node_version: patient.node_version.clone(),
        neighbours: patient.neighbours.clone(),
        looked_up: settings
            .proxy
            .as_ref()
            .map_or_else(|| host_of(&address.host_port), |proxy| proxy.host.clone()),
        ..Facts::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("preparing to look: {e}"))?;
    runtime.block_on(go(patient, &address, &mut facts));
    // A look-up of a name that hangs has a thread of its own, which nobody waits for.
    runtime.shutdown_background();
    Ok(facts)
}

fn host_of(host_port: &str) -> String {
    let host = host_port.rsplit_once(':').map_or(host_port, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

async fn go(patient: &Patient, address: &Address, facts: &mut Facts) {
    let first = address
        .proxy
        .as_ref()
        .map_or_else(|| address.host_port.clone(), place_of);
    let addresses = match in_time(look_up(&first)).await {
        Ok(list) if list.is_empty() => Err("the name has no address".to_owned()),
        other => other,
    };
    let addresses = match addresses {
        Ok(mut list) => {
            list.truncate(MAX_ADDRESSES);
            facts.names = Step::Done(list.clone());
            list
        }
        Err(cause) => {
            facts.names = Step::Failed(cause);
            return;
        }
    };
    let Some(tcp) = ports(&addresses, facts).await else {
        return;
    };
    let Some(line) = tunnel(tcp, address, facts).await else {
        return;
    };
    let Some(line) = secure(line, address, facts).await else {
        return;
    };
    match in_time(ask(line, patient, address)).await {
        Ok((answer, clock)) => {
            facts.clock_ahead_ms = clock;
            facts.answer = Step::Done(answer);
        }
        Err(cause) => facts.answer = Step::Failed(cause),
    }
    // With keys that are refused, no WebSocket is opened to anybody.
    if matches!(facts.answer, Step::Done(Answer::Hub(_))) {
        facts.upgrade = match tokio::time::timeout(STEP, try_open(address)).await {
            Ok(Ok(())) => Step::Done(()),
            Ok(Err(OpenError::Status(status, said))) => Step::Failed(answered(status, &said)),
            Ok(Err(OpenError::Failed(cause))) => Step::Failed(cause),
            Err(_) => Step::Failed(late()),
        };
    }
}

fn late() -> String {
    format!("no answer within {} s", STEP.as_secs())
}

/// The outcome of a step that is given up when it takes too long; errors become sentences.
async fn in_time<T, E: std::fmt::Display>(step: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(STEP, step).await {
        Ok(outcome) => outcome.map_err(|e| e.to_string()),
        Err(_) => Err(late()),
    }
}

/// Tries every address, all at once; gives the stream to the first that can be reached.
async fn ports(addresses: &[SocketAddr], facts: &mut Facts) -> Option<TcpStream> {
    let tried = addresses
        .iter()
        .map(|address| in_time(TcpStream::connect(*address)));
    let outcomes = futures_util::future::join_all(tried).await;
    let mut reached = None;
    for (address, outcome) in addresses.iter().zip(outcomes) {
        let told = match outcome {
            Ok(tcp) => {
                reached = reached.or(Some(tcp));
                Ok(())
            }
            Err(cause) => Err(cause),
        };
        facts.ports.push((*address, told));
    }
    reached
}

async fn tunnel(tcp: TcpStream, address: &Address, facts: &mut Facts) -> Option<Box<dyn Io>> {
    let Some(proxy) = &address.proxy else {
        return Some(Box::new(tcp));
    };
    match in_time(through(tcp, proxy, address)).await {
        Ok(io) => {
            facts.tunnel = Step::Done(());
            Some(io)
        }
        Err(cause) => {
            facts.tunnel = Step::Failed(cause);
            None
        }
    }
}

async fn through(tcp: TcpStream, proxy: &Proxy, address: &Address) -> Result<Box<dyn Io>, String> {
    pass(tcp, proxy, &address.host_port, &address.tls).await
}

async fn secure(line: Box<dyn Io>, address: &Address, facts: &mut Facts) -> Option<Box<dyn Io>> {
    if !facts.is_secure {
        return Some(line);
    }
    match tokio::time::timeout(STEP, encrypt(line, &address.host_port, &address.tls)).await {
        Ok(Ok(line)) => {
            facts.tls = Step::Done(());
            Some(line)
        }
        Ok(Err(trouble)) => {
            facts.tls = Step::Failed(trouble);
            None
        }
        Err(_) => {
            facts.tls = Step::Failed(TlsTrouble {
                kind: TlsFault::Other,
                cause: late(),
            });
            None
        }
    }
}

async fn encrypt(
    line: Box<dyn Io>,
    host_port: &str,
    config: &Arc<ClientConfig>,
) -> Result<Box<dyn Io>, TlsTrouble> {
    let name = rustls::pki_types::ServerName::try_from(host_of(host_port)).map_err(|e| TlsTrouble {
        kind: TlsFault::Other,
        cause: e.to_string(),
    })?;
    match TlsConnector::from(config.clone()).connect(name, line).await {
        Ok(tls) => Ok(Box::new(tls)),
        Err(error) => Err(TlsTrouble {
            kind: fault(&error),
            cause: error.to_string(),
        }),
    }
}

fn fault(error: &std::io::Error) -> TlsFault {
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(certificate)) = inner else {
        return TlsFault::Other;
    };
    match certificate {
        CertificateError::UnknownIssuer => TlsFault::Authority,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFault::Name,
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TlsFault::Time,
        _ => TlsFault::Other,
    }
}

/// Asks as a hub is asked; gives its answer, and how far our clock is ahead of its.
async fn ask(
    line: Box<dyn Io>,
    patient: &Patient,
    address: &Address,
) -> Result<(Answer, Option<i64>), String> {
    let (mut requests, connection) = handshake(TokioIo::new(line)).await.map_err(|e| e.to_string())?;
    let carried = tokio::spawn(connection);
    let before = now_ms();
    let answer = requests
        .send_request(question(patient, address)?)
        .await
        .map_err(|e| e.to_string())?;
    let after = now_ms();
    let middle = i64::try_from(before.midpoint(after)).unwrap_or(i64::MAX);
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = Limited::new(answer.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(|e| format!("reading its answer: {e}"))?
        .to_bytes();
    carried.abort();
    let dated = date_of(&headers).map(|date| middle.saturating_sub(date));
    Ok(match status {
        200 => match serde_json::from_slice::<HubSays>(&body) {
            Ok(says) if says.protocol > 0 => {
                let ahead = middle.saturating_sub(says.now);
                (Answer::Hub(says), Some(ahead))
            }
            _ => (Answer::Stranger(status), dated),
        },
        401 | 403 => (Answer::Refused(status, reason(Some(&body))), dated),
        status => (Answer::Stranger(status), dated),
    })
}

fn question(patient: &Patient, address: &Address) -> Result<Request<Full<Bytes>>, String> {
    let root: hyper::Uri = address.url.parse().map_err(|_| "a bad address".to_owned())?;
    let path = root.path().strip_suffix(wire::PATH).unwrap_or_default();
    let body = serde_json::json!({
        "name": patient.settings.machine_name,
        "machine": patient.machine.map(|id| id.to_string()),
        "pm2": patient.pm2_version,
        "node": patient.node_version,
    });
    // The value is a credential: no error shows it.
    let mut keys = HeaderValue::from_str(&address.authorization).map_err(|_| "bad keys".to_owned())?;
    keys.set_sensitive(true);
    Request::post(format!("{path}{}", wire::CHECK_PATH))
        .header("host", root.authority().map_or("", |a| a.as_str()))
        .header("content-type", "application/json")
        .header("user-agent", &address.user_agent)
        .header("authorization", keys)
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(|e| e.to_string())
}

/// What the other end calls the time, ms since the epoch, to the second.
fn date_of(headers: &HeaderMap) -> Option<i64> {
    let text = headers.get(DATE)?.to_str().ok()?;
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(date.timestamp().as_millisecond())
}
