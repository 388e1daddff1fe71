//! The listener, the router, and a clean stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::serve::ListenerExt;
use axum::{Router, ServiceExt, middleware as around};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::Layer;
use tower::util::MapRequestLayer;
use tower_http::compression::CompressionLayer;

use crate::auth::Auth;
use crate::clock::Clock;
use crate::live::Live;
use crate::middleware::{cors, observe, plain_path};
use crate::options::HubOptions;
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
    #[error("cannot listen on {address}: {source}; is another program there? give another --listen")]
    Listen {
        /// The address.
        address: String,
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

/// A hub that runs.
#[derive(Debug)]
pub struct Running {
    /// What can be reached of it.
    pub state: AppState,
    /// Where it listens.
    pub address: SocketAddr,
    /// How browsers and agents on this machine reach it, or the public URL.
    pub url: String,
    /// Owner and bucket.
    pub welcome: Option<Welcome>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<std::io::Result<()>>,
    upkeep: JoinHandle<()>,
    catalog: Arc<SqliteCatalog>,
    _folder: DataFolder,
}

/// Opens the store and listens. The hub runs until [`Running::stop`].
pub async fn start(options: HubOptions) -> Result<Running, HubError> {
    let folder = DataFolder::hold(&options.data)?;
    // Before anything is written: a taken port should leave no half-made hub behind.
    let listener = TcpListener::bind(&options.listen)
        .await
        .map_err(|source| HubError::Listen {
            address: options.listen.clone(),
            source,
        })?;
    let address = listener.local_addr().map_err(|source| HubError::Io {
        doing: "tell the own address",
        source,
    })?;
    let url = options.public_url.clone().unwrap_or_else(|| local_url(address));
    let preset = options.owner.clone();
    let Assembled { state, stop, catalog } = assemble(options, Clock::system())?;
    let welcome = set_up(&state, &preset).await?;

    let app = MapRequestLayer::new(plain_path).layer(routes(state.clone()));
    let app = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(app);
    // Small frames once a second to a browser: waiting to fill packets would only delay them.
    let listener = listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    let serving = tokio::spawn(
        axum::serve(listener, app)
            .with_graceful_shutdown(state.stopping())
            .into_future(),
    );
    let upkeep = tokio::spawn(upkeep(state.clone()));
    Ok(Running {
        state,
        address,
        url,
        welcome,
        stop,
        serving,
        upkeep,
        catalog,
        _folder: folder,
    })
}

impl Running {
    /// Stops: requests under way get a moment, sockets are dropped without a farewell, so that their clients come
    /// back; the store is written out.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let abort = self.serving.abort_handle();
        if tokio::time::timeout(GRACE, self.serving).await.is_err() {
            tracing::warn!("some requests did not end in time and were dropped");
            abort.abort();
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
pub(crate) fn assemble(options: HubOptions, clock: Clock) -> Result<Assembled, HubError> {
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
