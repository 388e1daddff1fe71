//! The port for what servers report: metric samples and events.

use std::sync::Arc;

use super::Answer;
use crate::ids::{BucketId, ServerId};

/// One measured value. Names are shared: values of one series that come together are best made with the same ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The app, or `None` for the server itself. At most 200 bytes.
    pub app: Option<Arc<str>>,
    /// Which instance of the app.
    pub pm_id: Option<u32>,
    /// `cpu`, `memory`, or the app's own name. At most 200 bytes.
    pub metric: Arc<str>,
    /// Unit as shown, may be empty. The last one reported counts.
    pub unit: Arc<str>,
    /// When it was measured, ms since 1970. Samples of one series count once per millisecond.
    pub at_ms: i64,
    /// The value; not-a-number and infinities are left out and counted.
    pub value: f64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When, ms since 1970.
    pub at_ms: i64,
    /// Which app, when one.
    pub app: Option<String>,
    /// Which instance.
    pub pm_id: Option<u32>,
    /// `process:event`, `process:exception`, `human:event`, …
    pub kind: String,
    /// What: `online`, `exit`, an event's name, an exception's message.
    pub name: String,
    /// The whole of it as JSON; at most 256 KiB.
    pub data: Vec<u8>,
}

/// What one server reported, to be stored as a whole or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The server's bucket.
    pub bucket: BucketId,
    /// The server.
    pub server: ServerId,
    /// Where in the sender's stream this is: numbers rise within a stream, and what is not above the last stored one
    /// is not stored again. At most 100 bytes of name.
    pub source: Option<(String, u64)>,
    /// Values, in any order and of any age.
    pub samples: Vec<Sample>,
    /// Events.
    pub events: Vec<Event>,
}

/// How a batch was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// Stored, durably.
    New,
    /// Seen before: nothing changed.
    Known,
}

/// Which part of which series, and how finely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeQuery {
    /// The bucket.
    pub bucket: BucketId,
    /// One server, or all.
    pub server: Option<ServerId>,
    /// One app, or everything of the server.
    pub app: Option<String>,
    /// One instance, or all of them, each a series of its own.
    pub pm_id: Option<u32>,
    /// The metric.
    pub metric: String,
    /// From this time on, ms since 1970.
    pub from_ms: i64,
    /// Up to and without this time.
    pub to_ms: i64,
    /// At most so many points each (1 to 10,000).
    pub points: u32,
}

/// One series, cut into equal steps; steps without samples are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesRange {
    /// Whose.
    pub series: SeriesInfo,
    /// Width of a step, ms.
    pub step_ms: i64,
    /// The points, in order of time.
    pub points: Vec<Point>,
}

/// What the samples of one step amount to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Where the step begins, ms since 1970.
    pub at_ms: i64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// Of all samples.
    pub sum: f64,
    /// How many samples.
    pub count: u64,
}

impl Point {
    /// The mean.
    pub fn avg(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.sum / self.count as f64
        }
    }
}

/// A series that has samples.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesInfo {
    /// The server.
    pub server: ServerId,
    /// The app, or `None` for the server itself.
    pub app: Option<String>,
    /// The instance.
    pub pm_id: Option<u32>,
    /// The metric.
    pub metric: String,
    /// Its unit, may be empty.
    pub unit: String,
}

/// Which events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventQuery {
    /// The bucket.
    pub bucket: BucketId,
    /// One server, or all.
    pub server: Option<ServerId>,
    /// One app, or all.
    pub app: Option<String>,
    /// One kind, or all.
    pub kind: Option<String>,
    /// One name, or all.
    pub name: Option<String>,
    /// From this time on, ms since 1970.
    pub from_ms: i64,
    /// Up to and without this time.
    pub to_ms: i64,
    /// At most so many, newest first (1 to 10,000).
    pub limit: u32,
}

/// An event with where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Rises in order of arrival.
    pub id: i64,
    /// The server.
    pub server: ServerId,
    /// The event.
    pub event: Event,
}

/// Counters for the screen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TelemetryStats {
    /// Samples taken since start.
    pub samples: u64,
    /// Samples refused since start: not a number, too old for their tier, or beyond a limit.
    pub samples_refused: u64,
    /// Events taken since start.
    pub events: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
}

/// Samples and events. Everything here is bounded by retention and a disk budget.
pub trait Telemetry: Send + Sync + std::fmt::Debug {
    /// Stores a batch; resolves only when it is durable. [`super::StoreError::Busy`] when too much waits.
    fn append(&self, batch: Batch) -> Answer<'_, Appended>;
    /// The newest number stored of a stream of this server, to tell the sender where to go on.
    fn stored_up_to(&self, bucket: BucketId, server: ServerId, stream: String) -> Answer<'_, Option<u64>>;
    /// Series over a time range, downsampled. What was acknowledged is seen.
    fn range(&self, query: RangeQuery) -> Answer<'_, Vec<SeriesRange>>;
    /// Series of a bucket (of a server) that had samples since `since_ms`.
    fn series(
        &self,
        bucket: BucketId,
        server: Option<ServerId>,
        since_ms: i64,
    ) -> Answer<'_, Vec<SeriesInfo>>;
    /// Events, newest first.
    fn events(&self, query: EventQuery) -> Answer<'_, Vec<StoredEvent>>;
    /// Forgets everything of a server.
    fn purge_server(&self, bucket: BucketId, server: ServerId) -> Answer<'_, ()>;
    /// Forgets everything of a bucket.
    fn purge_bucket(&self, bucket: BucketId) -> Answer<'_, ()>;
    /// Seals pages whose time is over, folds ageing ones into coarser tiers, removes what is beyond retention or
    /// the disk budget. To be called about once a second; cheap when there is nothing to do.
    fn maintain(&self, now_ms: i64) -> Answer<'_, ()>;
    /// Counters.
    fn stats(&self) -> TelemetryStats;
    /// Writes everything out and stops taking batches.
    fn close(&self) -> Answer<'_, ()>;
}
