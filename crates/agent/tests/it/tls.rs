//! Whom the agent believes to be the hub.

use crate::hub::{Hub, Session, journal, soon, stop, until, welcome};
use agent::{AgentConfig, LinkStatus};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// A TLS server with a certificate for `localhost` and `127.0.0.1` of an authority that nobody knows.
async fn server() -> (TcpListener, TlsAcceptor) {
    let chain = vec![CertificateDer::from_pem_file(fixture("tls-server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(fixture("tls-server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    (
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        TlsAcceptor::from(Arc::new(config)),
    )
}

async fn config(home: &Path, listener: &TcpListener) -> AgentConfig {
    let mut config = Hub::start().await.config(home);
    config.settings.root = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
    config
}

#[tokio::test]
async fn a_hub_whose_authority_is_not_known_gets_no_keys() {
    let home = tempfile::tempdir().unwrap();
    let (listener, acceptor) = server().await;
    let (handle, _requests) = agent::start(config(home.path(), &listener).await).unwrap();
    let (tcp, _) = soon("a connection", listener.accept()).await.unwrap();
    assert!(
        soon("the end of it", acceptor.accept(tcp)).await.is_err(),
        "the agent hangs up before it says a word"
    );
    until("the cause", || {
        matches!(handle.status(), LinkStatus::Waiting { .. })
    })
    .await;
    let log = journal(home.path());
    assert!(
        log.contains("securing the connection to 127.0.0.1:") && log.contains("UnknownIssuer"),
        "{log}"
    );
    stop(handle).await;
}

#[tokio::test]
async fn a_hub_whose_authority_the_host_knows_is_linked_over_tls() {
    let home = tempfile::tempdir().unwrap();
    let (listener, acceptor) = server().await;
    let mut config = config(home.path(), &listener).await;
    config.authorities.push(fixture("tls-authority.pem"));
    let (handle, _requests) = agent::start(config).unwrap();
    let (tcp, _) = soon("a connection", listener.accept()).await.unwrap();
    let tls = soon("a secure connection", acceptor.accept(tcp)).await.unwrap();
    let mut session = Session::over(tokio_tungstenite::accept_async(tls).await.unwrap());
    session.hello().await;
    session.send(welcome()).await;
    assert_eq!(soon("the link", handle.settled()).await, LinkStatus::Linked);
    stop(handle).await;
}
