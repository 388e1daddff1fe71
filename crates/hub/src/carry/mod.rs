//! Carries requests from a listener to the routes, and gives up on whoever is too slow to say what they want.
//!
//! `axum::serve` waits for ever: a thousand connections that never say anything, or say it a byte at a time, would take every
//! descriptor that the hub may have, from anywhere and without a key.

mod impatient;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tower::ServiceExt;

use self::impatient::Impatient;
use crate::middleware::plain_path;

/// How long somebody may take to say what they want: the first line and the headers. Also how long a connection may be idle
/// between two requests.
const HEAD_WITHIN: Duration = Duration::from_secs(60);
/// How long somebody may take to send the body of a request.
const BODY_WITHIN: Duration = Duration::from_secs(120);
/// How long somebody may leave unread what is written to them.
const READ_WITHIN: Duration = Duration::from_secs(60);
/// Out of descriptors: the next try comes after this.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// How slow somebody may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    head: Duration,
    body: Duration,
    unread: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: HEAD_WITHIN,
            body: BODY_WITHIN,
            unread: READ_WITHIN,
        }
    }
}

/// Takes connections until `stopping`, then waits for the requests under way.
pub(crate) async fn carry(
    listener: TcpListener,
    routes: Router,
    patience: Patience,
    stopping: impl Future<Output = ()> + Clone + Send + 'static,
) {
    // Every connection holds one end; when none is left, all are done.
    let (working, mut done) = mpsc::channel::<Infallible>(1);
    let mut stop = pin!(stopping.clone());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((connection, peer)) => {
                let (routes, stopping, working) = (routes.clone(), stopping.clone(), working.clone());
                tokio::spawn(async move {
                    serve(connection, peer, routes, patience, stopping).await;
                    drop(working);
                });
            }
            Err(error) if is_the_others(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot take a connection");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop((listener, working));
    let _ = done.recv().await;
}

/// Whether a connection failed before it was taken, which concerns nobody here.
fn is_the_others(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

async fn serve(
    connection: TcpStream,
    peer: SocketAddr,
    routes: Router,
    patience: Patience,
    stopping: impl Future<Output = ()>,
) {
    // Small frames once a second to a browser: waiting to fill packets would only delay them.
    let _ = connection.set_nodelay(true);
    let connection = Impatient::new(connection, patience.unread);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = plain_path(request.map(|body| in_time(Body::new(body), patience.body)));
        request.extensions_mut().insert(ConnectInfo(peer));
        routes.clone().oneshot(request)
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .serve_connection(TokioIo::new(connection), service)
        .with_upgrades();
    let (mut conversation, mut stopping) = (pin!(conversation), pin!(stopping));
    let ended = tokio::select! {
        ended = conversation.as_mut() => ended,
        () = &mut stopping => {
            conversation.as_mut().graceful_shutdown();
            conversation.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}

/// The same body, which fails if it is not there within the time.
fn in_time(body: Body, within: Duration) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let until = Instant::now() + within;
    let pieces = stream::unfold(Some(body.into_data_stream()), move |pieces| async move {
        let mut pieces = pieces?;
        let late = || std::io::Error::new(std::io::ErrorKind::TimedOut, "the body came too slowly");
        match tokio::time::timeout_at(until, pieces.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(pieces))),
            Ok(Some(Err(error))) => Some((Err(std::io::Error::other(error)), None)),
            Err(_) => Some((Err::<Bytes, _>(late()), None)),
        }
    });
    Body::from_stream(pieces)
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Short for a test, and yet more than a busy machine holds a test up between two of its lines.
    const SHORT: Patience = Patience {
        head: Duration::from_secs(1),
        body: Duration::from_secs(1),
        unread: Duration::from_secs(1),
    };

    /// A listener with two routes, and what stops it.
    async fn listening() -> (
        SocketAddr,
        tokio::sync::watch::Sender<bool>,
        tokio::task::JoinHandle<()>,
    ) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new()
            .route("/", get(async || "hello"))
            .route(
                "/slow",
                get(async || {
                    tokio::time::sleep(Duration::from_millis(1_500)).await;
                    "done"
                }),
            )
            .route("/large", get(async || vec![b'x'; 64 << 20]))
            .route("/post", post(async |body: Bytes| body));
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let stopping = futures_util::FutureExt::shared(async move {
            let mut stopped = stopped;
            let _ = stopped.wait_for(|stop| *stop).await;
        });
        let carrying = tokio::spawn(carry(listener, routes, SHORT, stopping));
        (address, stop, carrying)
    }

    /// What comes back, up to where the hub hangs up.
    async fn until_it_hangs_up(connection: &mut TcpStream) -> String {
        let mut answer = Vec::new();
        let read = connection.read_to_end(&mut answer);
        let read = tokio::time::timeout(Duration::from_secs(20), read).await;
        read.expect("the hub hangs up").unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn who_says_nothing_or_half_a_sentence_is_hung_up_on() {
        let (address, _stop, _) = listening().await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        assert_eq!(until_it_hangs_up(&mut silent).await, "");
        let mut stammers = TcpStream::connect(address).await.unwrap();
        stammers.write_all(b"GET / HTTP/1.1\r\nHost: h").await.unwrap();
        until_it_hangs_up(&mut stammers).await;
        // After an answer as before one.
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        let answer = until_it_hangs_up(&mut idle).await;
        assert!(answer.ends_with("hello"), "{answer}");
        // How long an answer takes is another matter.
        let mut patient = TcpStream::connect(address).await.unwrap();
        patient
            .write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        let answer = until_it_hangs_up(&mut patient).await;
        assert!(answer.ends_with("done"), "{answer}");
    }

    #[tokio::test]
    async fn a_body_that_trickles_in_is_not_waited_for() {
        let (address, _stop, _) = listening().await;
        let mut whole = TcpStream::connect(address).await.unwrap();
        let head = "POST /post HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 4\r\n\r\n";
        whole.write_all(format!("{head}body").as_bytes()).await.unwrap();
        assert!(until_it_hangs_up(&mut whole).await.ends_with("body"));
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(format!("{head}bo").as_bytes()).await.unwrap();
        let answer = until_it_hangs_up(&mut slow).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_is_given_up() {
        let (address, _stop, _) = listening().await;
        let mut deaf = TcpStream::connect(address).await.unwrap();
        deaf.write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut answer = Vec::new();
        // Cut off, with or without a reset.
        let _ = tokio::time::timeout(Duration::from_secs(20), deaf.read_to_end(&mut answer))
            .await
            .expect("the hub hangs up");
        assert!(answer.len() < 64 << 20, "{}", answer.len());
    }

    #[tokio::test]
    async fn a_stop_waits_for_what_is_under_way() {
        let (address, stop, carrying) = listening().await;
        let mut asks = TcpStream::connect(address).await.unwrap();
        asks.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        stop.send(true).unwrap();
        assert!(until_it_hangs_up(&mut asks).await.ends_with("done"));
        carrying.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
