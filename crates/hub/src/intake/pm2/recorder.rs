//! Values and events of a PM2 agent on their way to the store.
//!
//! These agents repeat nothing, so there is nothing to acknowledge: what the store cannot take in time is dropped, and counted.

use std::collections::VecDeque;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::ids::{BucketId, ServerId};
use crate::state::AppState;
use crate::store::StoreError;
use crate::store::telemetry::{Batch, Event, Sample};

/// Values that wait while the store is busy.
const MAX_SAMPLES: usize = 100_000;
/// Events that wait while the store is busy.
const MAX_EVENTS: usize = 2_000;

pub(super) struct Recorder {
    state: AppState,
    bucket: BucketId,
    samples: Vec<Sample>,
    events: VecDeque<Event>,
    lost: u64,
    writing: Option<BoxFuture<'static, Result<(), StoreError>>>,
}

impl Recorder {
    pub(super) fn new(state: AppState, bucket: BucketId) -> Self {
        Self {
            state,
            bucket,
            samples: Vec::new(),
            events: VecDeque::new(),
            lost: 0,
            writing: None,
        }
    }

    pub(super) fn samples(&mut self, samples: impl IntoIterator<Item = Sample>) {
        for sample in samples {
            if self.samples.len() < MAX_SAMPLES {
                self.samples.push(sample);
            } else {
                self.lost += 1;
            }
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
            self.lost += 1;
        }
        self.events.push_back(event);
    }

    /// Writes what waits. Never resolves while there is nothing to write; safe to drop and call again.
    pub(super) async fn write(&mut self, server: Option<ServerId>) {
        if self.writing.is_none() {
            let nothing = self.samples.is_empty() && self.events.is_empty();
            let Some(server) = server.filter(|_| !nothing) else {
                return std::future::pending().await;
            };
            let batch = Batch {
                bucket: self.bucket,
                server,
                source: None,
                samples: std::mem::take(&mut self.samples),
                events: std::mem::take(&mut self.events).into(),
            };
            let state = self.state.clone();
            self.writing = Some(async move { state.telemetry.append(batch).await.map(|_| ()) }.boxed());
        }
        if let Some(writing) = &mut self.writing {
            let outcome = writing.await;
            self.writing = None;
            if let Err(error) = outcome {
                tracing::error!(bucket = %self.bucket, %error, "what a PM2 agent reported could not be stored");
            }
        }
        if self.lost > 0 {
            tracing::warn!(bucket = %self.bucket, lost = self.lost, "the store was too slow for what a PM2 agent reported");
            self.lost = 0;
        }
    }
}
