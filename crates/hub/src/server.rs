//! The listener, the router, and a clean stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::{Extension, Router, middleware as around};
use futures_util::FutureExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower_http::compression::CompressionLayer;

use crate::auth::Auth;
use crate::carry::{Patience, carry};
use crate::clock::Clock;
use crate::live::Live;
use crate::middleware::{cors, observe};
use crate::options::HubOptions;
use crate::ports::{Door, Ports};
use crate::setup::{SetupError, Welcome, set_up};
use crate::state::{AppState, Parts};
use crate::store::sqlite::{DataFolder, SqliteCatalog, SqliteTelemetry};
use crate::store::{InProcessBus, StoreError};
use crate::{actions, api, assets, intake, realtime};

/// Bytes of a request's body, unless a route says otherwise.
const MAX_BODY: usize = 1 << 20;
/// How long requests under way may take to finish at a stop.
const GRACE: Duration = Duration::from_secs(3);
/// How often pages are sealed and the like.
const UPKEEP: Duration = Duration::from_secs(1);
/// How often expired tokens are removed.
const SWEEP: Duration = Duration::from_secs(600);

/// Why a hub does not run.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; is another program there? give another {option}")]
    Listen {
        /// The address.
        address: String,
        /// The option that gave it.
        option: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The first start failed.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The system refused something else.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being tried.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// An option makes no sense.
    #[error("{0}")]
    Options(String),
    /// Nobody has that address.
    #[error("there is no account with the e-mail address or user name {0}")]
    UnknownUser(String),
}

/// Every route of the hub.
pub fn routes(state: AppState) -> Router {
    Router::new()
        .merge(api::router())
        .merge(api::data::router())
        .merge(api::servers::router())
        .merge(actions::router())
        .layer(CompressionLayer::new())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(cors())
        .merge(realtime::router())
        .merge(intake::router())
        .fallback(assets::serve)
        .layer(around::from_fn(observe))
        .with_state(state)
}

/// What agents find at the ports of their own.
fn agent_routes(state: AppState, door: Door) -> Router {
    intake::router()
        .layer(Extension(door))
        .layer(around::from_fn(observe))
        .with_state(state)
}

/// A hub that runs.
#[derive(Debug)]
pub struct Running {
    /// What can be reached of it.
    pub state: AppState,
    /// Where it listens.
    pub address: SocketAddr,
    /// How browsers and agents on this machine reach it, or the public URL.
    pub url: String,
    /// The ports for data and commands, if they are separate.
    pub separate: Option<[SocketAddr; 2]>,
    /// Owner and bucket.
    pub welcome: Option<Welcome>,
    stop: watch::Sender<bool>,
    serving: Vec<JoinHandle<()>>,
    upkeep: JoinHandle<()>,
    catalog: Arc<SqliteCatalog>,
    _folder: DataFolder,
}

/// Opens the store and listens. The hub runs until [`Running::stop`].
pub async fn start(options: HubOptions) -> Result<Running, HubError> {
    let folder = DataFolder::hold(&options.data)?;
    // Before anything is written: a taken port should leave no half-made hub behind.
    let (listener, address) = listen(&options.listen, "--listen").await?;
    let mut extra = Vec::new();
    let mut ports = Ports::default();
    let mut separate = None;
    if let Some(wanted) = &options.separate {
        let (push, push_address) = listen(&wanted.push.listen, "--push-listen").await?;
        let (reverse, reverse_address) = listen(&wanted.reverse.listen, "--reverse-listen").await?;
        ports = Ports::separate(address, push_address, reverse_address, wanted);
        extra = vec![(push, Door::Push), (reverse, Door::Reverse)];
        separate = Some([push_address, reverse_address]);
    }
    let url = options.public_url.clone().unwrap_or_else(|| local_url(address));
    let preset = options.owner.clone();
    let Assembled { state, stop, catalog } = assemble(options, Clock::system(), ports)?;
    let welcome = set_up(&state, &preset).await?;

    let mut serving = vec![serve(listener, routes(state.clone()), &state)];
    for (listener, door) in extra {
        serving.push(serve(listener, agent_routes(state.clone(), door), &state));
    }
    let upkeep = tokio::spawn(upkeep(state.clone()));
    Ok(Running {
        state,
        address,
        url,
        separate,
        welcome,
        stop,
        serving,
        upkeep,
        catalog,
        _folder: folder,
    })
}

async fn listen(address: &str, option: &'static str) -> Result<(TcpListener, SocketAddr), HubError> {
    let failed = |source| HubError::Listen {
        address: address.to_owned(),
        option,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn serve(listener: TcpListener, routes: Router, state: &AppState) -> JoinHandle<()> {
    let stopping = state.stopping().boxed().shared();
    tokio::spawn(carry(listener, routes, Patience::default(), stopping))
}

impl Running {
    /// Stops: requests under way get a moment, sockets are dropped without a farewell, so that their clients come
    /// back; the store is written out.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let end = tokio::time::Instant::now() + GRACE;
        for mut serving in self.serving {
            if tokio::time::timeout_at(end, &mut serving).await.is_err() {
                tracing::warn!("some requests did not end in time and were dropped");
                serving.abort();
            }
        }
        let _ = self.upkeep.await;
        self.state.live.close().await;
        if let Err(error) = self.state.telemetry.close().await {
            tracing::error!(%error, "could not write out the telemetry");
        }
        let catalog = self.catalog;
        let _ = tokio::task::spawn_blocking(move || catalog.close()).await;
    }
}

/// The parts of a hub, put together.
pub(crate) struct Assembled {
    pub(crate) state: AppState,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) catalog: Arc<SqliteCatalog>,
}

/// Opens the stores of a folder that the caller holds, and puts the parts of a hub together.
pub(crate) fn assemble(options: HubOptions, clock: Clock, ports: Ports) -> Result<Assembled, HubError> {
    let catalog = Arc::new(SqliteCatalog::open(&options.data)?);
    let telemetry = Arc::new(SqliteTelemetry::open(
        &options.data,
        options.retention,
        clock.clone(),
    )?);
    let (stop, stopping) = watch::channel(false);
    let live = Live::start(catalog.clone(), clock.clone());
    let state = AppState::new(Parts {
        options,
        clock,
        catalog: catalog.clone(),
        telemetry,
        bus: Arc::new(InProcessBus::default()),
        live,
        ports,
        pushes: intake::ours::Pushes::default(),
        reverses: intake::ours::Reverses::default(),
        auth: Auth::new(),
        stop: stopping,
    });
    Ok(Assembled { state, stop, catalog })
}

/// What has to be done from time to time.
async fn upkeep(state: AppState) {
    let mut every = tokio::time::interval(UPKEEP);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut sweep = tokio::time::interval(SWEEP);
    let stopping = state.stopping();
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            () = &mut stopping => return,
            _ = every.tick() => {
                if let Err(error) = state.telemetry.maintain(state.now_ms()).await {
                    tracing::error!(%error, "upkeep of the telemetry failed");
                }
            }
            _ = sweep.tick() => {
                if let Err(error) = state.catalog.remove_expired(state.now_ms()).await {
                    tracing::error!(%error, "upkeep of the catalog failed");
                }
            }
        }
    }
}

/// An address that works on this machine, whatever was listened on.
fn local_url(address: SocketAddr) -> String {
    let mut reached = address;
    if address.ip().is_unspecified() {
        let loopback: std::net::IpAddr = if address.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        };
        reached.set_ip(loopback);
    }
    format!("http://{reached}")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::options::OwnerPreset;

    fn options(folder: &std::path::Path) -> HubOptions {
        HubOptions {
            owner: OwnerPreset {
                email: Some("owner@example.org".into()),
                password: Some("correct horse".into()),
            },
            ..HubOptions::new(folder)
        }
    }

    /// What the hub answers to these bytes, up to where it has nothing more to say.
    async fn raw(address: SocketAddr, request: String) -> String {
        tokio::task::spawn_blocking(move || {
            let mut connection = TcpStream::connect(address).unwrap();
            connection.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            connection.read_to_end(&mut answer).unwrap();
            String::from_utf8_lossy(&answer).into_owned()
        })
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn a_hub_that_is_started_again_is_the_same_hub() {
        let folder = tempfile::tempdir().unwrap();
        let first = start(options(folder.path())).await.unwrap();
        assert_eq!(first.url, format!("http://{}", first.address));
        assert_ne!(first.address.port(), 0);
        let before = first.welcome.clone().unwrap();
        assert_eq!(before.owner.email, "owner@example.org");
        assert_eq!(before.password, None, "a preset password is not repeated");

        let refused = start(options(folder.path())).await.unwrap_err();
        assert!(
            matches!(refused, HubError::Store(StoreError::Held { .. })),
            "{refused}"
        );
        let other = tempfile::tempdir().unwrap();
        let taken = HubOptions {
            listen: first.address.to_string(),
            ..options(other.path())
        };
        let refused = start(taken).await.unwrap_err().to_string();
        assert!(
            refused.starts_with(&format!("cannot listen on {}", first.address)),
            "{refused}"
        );
        assert!(
            !other.path().join("catalog.db").exists(),
            "no half-made hub is left"
        );

        // Meanwhile a token can be made from the command line.
        let path = folder.path().to_owned();
        let token =
            tokio::task::spawn_blocking(move || crate::cli::create_token(&path, "owner", "test").unwrap());
        let token = token.await.unwrap();
        let body = format!(r#"{{"grant_type":"refresh_token","client_id":"1","refresh_token":"{token}"}}"#);
        // As PM2's command line sends it by way of a proxy.
        let request = format!(
            "POST https://id.keymetrics.io/api/oauth/token HTTP/1.1\r\nHost: id.keymetrics.io\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = raw(first.address, request).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 OK") && answer.contains("access_token"),
            "{answer}"
        );
        assert!(answer.to_lowercase().contains("\ndate: "), "{answer}");
        first.stop().await;

        let again = start(options(folder.path())).await.unwrap();
        let after = again.welcome.clone().unwrap();
        assert_eq!((after.owner, after.bucket), (before.owner, before.bucket));
        again.stop().await;
        assert!(!folder.path().join("catalog.db-wal").exists());
        assert!(!folder.path().join("telemetry.db-wal").exists());
    }

    #[tokio::test]
    async fn without_a_preset_the_password_is_made_up_and_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let hub = start(HubOptions::new(folder.path())).await.unwrap();
        let welcome = hub.welcome.clone().unwrap();
        assert_eq!(welcome.owner.email, "owner@localhost");
        let password = welcome.password.unwrap();
        crate::auth::log_in(&hub.state, "owner", password.clone(), None)
            .await
            .unwrap();
        assert!(
            !format!("{hub:?}").contains(&password),
            "not even a debug print tells it"
        );
        hub.stop().await;
        let hub = start(HubOptions::new(folder.path())).await.unwrap();
        assert_eq!(hub.welcome.clone().unwrap().password, None);
        hub.stop().await;
    }

    #[tokio::test]
    async fn a_preset_that_cannot_be_is_refused_and_can_be_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let why = "a password has at least 8 characters and at most 1024 bytes";
        for (email, password, why) in [
            ("owner@example.org", "short", why),
            ("nowhere", "long enough", "\"nowhere\" is no e-mail address"),
        ] {
            let owner = OwnerPreset {
                email: Some(email.into()),
                password: Some(password.into()),
            };
            let refused = start(HubOptions {
                owner,
                ..HubOptions::new(folder.path())
            })
            .await
            .unwrap_err();
            assert_eq!(
                refused.to_string(),
                format!("cannot create the owner's account: {why}")
            );
        }
        start(options(folder.path())).await.unwrap().stop().await;
    }

    #[test]
    fn the_url_can_be_reached_from_here() {
        for (listening, url) in [
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:8484", "http://[::1]:8484"),
            ("192.0.2.1:8484", "http://192.0.2.1:8484"),
        ] {
            assert_eq!(local_url(listening.parse().unwrap()), url);
        }
    }
}
