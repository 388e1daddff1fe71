//! What every part of a running hub can reach.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::watch;

use crate::auth::Auth;
use crate::clock::Clock;
use crate::options::HubOptions;
use crate::store::{Bus, Catalog, Telemetry};

/// The running hub; clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct AppState(Arc<Parts>);

/// The parts of a running hub.
#[derive(Debug)]
pub struct Parts {
    /// How it was started.
    pub options: HubOptions,
    /// The time.
    pub clock: Clock,
    /// Users, buckets, tokens, servers, audit.
    pub catalog: Arc<dyn Catalog>,
    /// Samples and events.
    pub telemetry: Arc<dyn Telemetry>,
    /// Messages between parts.
    pub bus: Arc<dyn Bus>,
    /// What every server looks like this second.
    pub live: crate::live::Live,
    /// Which addresses it listens on.
    pub ports: crate::ports::Ports,
    /// Agents that come in by plain requests.
    pub pushes: crate::intake::ours::Pushes,
    /// Links that fetch their commands by a port of its own.
    pub reverses: crate::intake::ours::Reverses,
    /// Passwords, tokens, limits.
    pub auth: Auth,
    /// Turns true when the hub stops.
    pub stop: watch::Receiver<bool>,
}

impl AppState {
    /// Makes the handle.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Resolves when the hub stops: long-lived tasks and sockets select on it and drop what they hold.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.clone();
        async move {
            // An error means that the one who stops is gone, which is a stop as well.
            let _ = stop.wait_for(|stopping| *stopping).await;
        }
    }
}

impl Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
