//! Reports that must not be lost: taken in order, stored in order, acknowledged when stored.
//!
//! One write at a time per link. A later report must never be stored before an earlier one, because the store takes
//! whatever is not above the last stored number for a repeat; what waits meanwhile is merged into the next write.

use std::collections::VecDeque;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use wire::message::{Report, ReportBody};

use super::convert::{self, Told};
use crate::ids::{BucketId, ServerId};
use crate::live::model::Millis;
use crate::state::AppState;
use crate::store::StoreError;
use crate::store::telemetry::Batch;

/// Reports that wait; when there are more, the socket is not read.
const WAITING: usize = 64;
/// Values that wait; when there are more, the socket is not read.
const WAITING_SAMPLES: usize = 200_000;
/// Values in one report; an agent that sends more breaks the protocol.
const MAX_SAMPLES: usize = 500_000;
/// Samples that are older come from a time in which there was no link: a batch of the present is some seconds old.
const PAST: Millis = 7_000;
/// Values and events in one write.
const MERGE: usize = 20_000;

/// What a write came to.
pub(super) type Written = Result<u64, StoreError>;

pub(super) struct Reports {
    state: AppState,
    bucket: BucketId,
    server: ServerId,
    stream: String,
    /// Highest number taken in; at or below it is a repeat.
    taken: u64,
    waiting: VecDeque<Batch>,
    writing: Option<BoxFuture<'static, Written>>,
}

impl Reports {
    pub(super) fn new(
        state: AppState,
        bucket: BucketId,
        server: ServerId,
        stream: String,
        stored: u64,
    ) -> Self {
        Self {
            state,
            bucket,
            server,
            stream,
            taken: stored,
            waiting: VecDeque::new(),
            writing: None,
        }
    }

    /// Whether there is room for one more.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < WAITING
            && self.waiting.iter().map(|b| b.samples.len()).sum::<usize>() < WAITING_SAMPLES
    }

    /// Whether the report is of a size that agents may send.
    pub(super) fn is_acceptable(report: &Report) -> bool {
        match &report.body {
            ReportBody::Samples(samples) => {
                samples.at.len().saturating_mul(samples.series.len()) <= MAX_SAMPLES
            }
            _ => true,
        }
    }

    /// From when to when, and how many, the moments are that samples of the past are of, by the agent's clock; `None` of what is
    /// of the present, or a repeat.
    pub(super) fn of_the_past(&self, report: &Report, now: Millis) -> Option<(Millis, Millis, usize)> {
        let ReportBody::Samples(samples) = &report.body else {
            return None;
        };
        let (first, last) = (*samples.at.first()?, *samples.at.last()?);
        let (first, last) = (Millis::try_from(first).ok()?, Millis::try_from(last).ok()?);
        let is_past = first < now.saturating_sub(PAST) && report.seq > self.taken;
        (is_past && samples.is_consistent()).then_some((first, last, samples.at.len()))
    }

    /// What the host lost before this report, for the people who look at that server. A repeat tells nothing.
    pub(super) fn newly_lost(&self, report: &Report) -> Option<String> {
        let lost = report.dropped;
        (lost > 0 && report.seq > self.taken).then(|| {
            tracing::warn!(server = %self.server, reports = lost, "an agent had to drop reports before they could be sent");
            format!(
                "{lost} report{} of that host could not be kept until they were sent: its disk, or its spool, had no room for them. Their time is \
                 a gap in the charts.",
                if lost == 1 { "" } else { "s" }
            )
        })
    }

    /// Takes a report. What in it is news is given back, to be told at once; a repeat is none.
    pub(super) fn take(
        &mut self,
        report: Report,
        server_name: &str,
        held_back: impl Fn(u32) -> bool,
    ) -> Vec<News> {
        let repeat = report.seq <= self.taken;
        let mut batch = Batch {
            bucket: self.bucket,
            server: self.server,
            source: Some((self.stream.clone(), report.seq)),
            samples: Vec::new(),
            events: Vec::new(),
        };
        let mut news = Vec::new();
        if !repeat {
            self.taken = report.seq;
            match report.body {
                ReportBody::Samples(samples) if samples.is_consistent() => {
                    batch.samples = convert::samples(&samples, &held_back);
                }
                ReportBody::Samples(_) => {
                    tracing::warn!(server = %self.server, seq = report.seq, "an inconsistent batch of samples was left out");
                }
                ReportBody::Events(events) => {
                    news.extend(events.list.iter().map(|e| News {
                        told: convert::event(e, server_name),
                        hint: convert::hint(e),
                    }));
                }
                ReportBody::Exceptions(exceptions) => {
                    news.extend(exceptions.list.iter().map(|e| News {
                        told: convert::exception(e, server_name),
                        hint: None,
                    }));
                }
                ReportBody::Unknown(_) => {}
            }
            news.retain(|n| !n.told.pm_id.is_some_and(&held_back));
            batch.events = news.iter().filter_map(|n| n.told.to_stored()).collect();
        }
        // A repeat is written too: an empty batch, whose number the store knows; so its acknowledgement comes in order.
        self.waiting.push_back(batch);
        news
    }

    /// Writes what waits; resolves with the number up to which everything is stored. Never resolves while there is
    /// nothing to write. Safe to drop and call again.
    pub(super) async fn written(&mut self) -> Written {
        if self.writing.is_none() {
            self.writing = self.next_write();
        }
        match &mut self.writing {
            None => std::future::pending().await,
            Some(writing) => {
                let written = writing.await;
                self.writing = None;
                written
            }
        }
    }

    fn next_write(&mut self) -> Option<BoxFuture<'static, Written>> {
        let mut batch = self.waiting.pop_front()?;
        while let Some(next) = self.waiting.front()
            && batch.samples.len() + batch.events.len() + next.samples.len() + next.events.len() <= MERGE
            && !(is_empty(&batch) ^ is_empty(next))
        {
            let Some(next) = self.waiting.pop_front() else {
                break;
            };
            batch.source = next.source;
            batch.samples.extend(next.samples);
            batch.events.extend(next.events);
        }
        let (_, seq) = batch.source.clone()?;
        let state = self.state.clone();
        Some(async move { state.telemetry.append(batch).await.map(|_| seq) }.boxed())
    }
}

fn is_empty(batch: &Batch) -> bool {
    batch.samples.is_empty() && batch.events.is_empty()
}

/// An event that just came.
#[derive(Debug)]
pub(super) struct News {
    pub(super) told: Told,
    /// The status it shows.
    pub(super) hint: Option<&'static str>,
}
