//! Serves: the static web server behind the verb `serve`, the `static` section of a configuration file, and `script: "serve"`.
//!
//! It is an app like any other: the daemon starts this binary with the role `static-server` and `PM2_SERVE_*` in its environment,
//! which is also all the configuration it has ([`Options::from_env`]).
//!
//! What a request may see is decided in rooms without IO: [`target`] (which path is meant), [`range`] and [`fresh`] (how much of it, if
//! anything, has to be sent). [`files`] opens, below the root only; [`site`] puts an answer together.
//!
//! What it will never do: open a file that the path leads to from outside of the root, read a whole file into memory, or write one.

mod auth;
mod files;
mod fresh;
mod listing;
mod options;
mod range;
mod site;
mod target;

pub use options::{Options, OptionsError};
pub use site::router;

use std::io;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Requests under way get this long at the end; it is less than the time that a stop leaves by default.
const GRACE: Duration = Duration::from_millis(1000);
/// Threads that may wait for the disk.
const DISK_THREADS: usize = 16;

/// Why it can't serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The configuration is of no use.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The port is taken, or not ours to take.
    #[error("listening on {address}: {source}")]
    Listen {
        /// Host and port.
        address: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Threads, signals, sockets.
    #[error("{step}: {source}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Serves until a signal asks for the end.
///
/// # Errors
/// [`ServeError`]; all but the last come before anything was served.
pub fn run(options: Options) -> Result<(), ServeError> {
    let failed = |step| move |source| ServeError::Io { step, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(DISK_THREADS)
        .build()
        .map_err(failed("starting the runtime"))?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed("listening to signals"))?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed("listening to signals"))?;
        let listener = TcpListener::bind((options.host.as_str(), options.port)).await;
        let listener = listener.map_err(|source| ServeError::Listen {
            address: format!("{}:{}", options.host, options.port),
            source,
        })?;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = axum::serve(listener, router(options)).with_graceful_shutdown(async {
            // Its other end is only dropped at the very end.
            let _ = stopped.await;
        });
        let mut serving = tokio::spawn(serving.into_future());
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            ended = &mut serving => return ended.unwrap_or(Ok(())).map_err(failed("serving")),
        }
        let _ = stop.send(());
        // What takes longer is cut off.
        let _ = tokio::time::timeout(GRACE, serving).await;
        Ok(())
    })
}
