//! Reports on disk until the hub has stored them.
//!
//! Every report gets a number, is written, is sent when there is a link, and is forgotten when the hub acknowledges its
//! number. After a gap everything that is left is sent again in order, with its own times. The bytes are bounded: when
//! the bound is reached the oldest go and are counted.
//!
//! On disk: `$PM2_HOME/agent-spool/` with `state.json` (which stream, what is acknowledged) and segments of records
//! (see `segment`). A segment is only appended to; a tail torn by a crash is cut off when it is opened again. If the
//! disk takes nothing more, reports wait in memory, much fewer.
//!
//! Numbers never come twice, not even when the tail of a segment was lost with the machine's power: each opening starts
//! at the time of day in milliseconds times 2^20, or above the last number known.

mod segment;
mod state;

use segment::Segment;
use state::State;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use thiserror::Error;
use wire::StreamId;

/// Name of the folder in `$PM2_HOME`.
pub const DIR: &str = "agent-spool";
/// Most bytes in memory while the disk takes nothing.
const MEMORY_MAX: u64 = 1 << 20;
/// Acknowledgements are written down at the latest after this many, else when a segment is done.
const WRITE_STATE_EVERY: u32 = 64;
/// Larger numbers are a mistake of somebody, or worse: counting on from them would run over.
const SEQ_MAX: u64 = u64::MAX / 2;

/// The spool cannot be kept.
#[derive(Debug, Error)]
#[error("{doing} {path}")]
pub struct SpoolError {
    /// Which file or folder.
    pub path: PathBuf,
    /// What was being done.
    pub doing: &'static str,
    /// Why it failed.
    #[source]
    pub source: std::io::Error,
}

/// A report that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub seq: u64,
    /// What was appended.
    pub payload: Vec<u8>,
    /// How many reports were dropped that the hub does not know of yet; to be told with this one.
    pub dropped: u64,
}

#[derive(Debug)]
enum Place {
    /// In the segment of this first number, at this offset.
    Disk {
        segment: u64,
        offset: u64,
    },
    Memory(Vec<u8>),
}

#[derive(Debug)]
struct Entry {
    seq: u64,
    len: u32,
    place: Place,
}

/// The spool of one home. Its methods do small blocking file work; call them from a thread that may.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    max_bytes: u64,
    segment_bytes: u64,
    state: State,
    unwritten_acks: u32,
    next_seq: u64,
    segments: VecDeque<Segment>,
    /// What is not acknowledged, oldest first.
    entries: VecDeque<Entry>,
    /// Index into `entries` of the next one to send.
    cursor: usize,
    memory_bytes: u64,
    /// With which number, on this link, how many drops were told.
    told: Option<(u64, u64)>,
    /// Why the last report is not on disk.
    trouble: Option<String>,
}

impl Spool {
    /// Opens the spool in a home, or makes one. `now_ms` is the time of day.
    pub fn open(home: &Path, max_bytes: u64, now_ms: u64) -> Result<Self, SpoolError> {
        let dir = home.join(DIR);
        let mut options = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(options.recursive(true), 0o700);
        options.create(&dir).map_err(|source| SpoolError {
            path: dir.clone(),
            doing: "making",
            source,
        })?;
        let state = State::load(&dir)?;
        let segment_bytes = (max_bytes / 16).clamp(4 << 10, 4 << 20);
        let mut spool = Self {
            max_bytes,
            segment_bytes,
            unwritten_acks: 0,
            next_seq: (now_ms.min(1 << 42) << 20).max(state.acked + 1),
            segments: VecDeque::new(),
            entries: VecDeque::new(),
            cursor: 0,
            memory_bytes: 0,
            told: None,
            trouble: None,
            dir,
            state,
        };
        spool.load_segments()?;
        spool.state.save(&spool.dir)?;
        Ok(spool)
    }

    fn load_segments(&mut self) -> Result<(), SpoolError> {
        for first in segment::list(&self.dir)? {
            let (segment, records) = Segment::load(&self.dir, first)?;
            for r in records {
                // Ascending in all files together; anything else is a leftover or a forgery.
                let last = self.entries.back().map_or(self.state.acked, |e| e.seq);
                if r.seq > last && r.seq <= SEQ_MAX {
                    let place = Place::Disk {
                        segment: first,
                        offset: r.offset,
                    };
                    self.entries.push_back(Entry {
                        seq: r.seq,
                        len: r.len,
                        place,
                    });
                }
            }
            self.segments.push_back(segment);
        }
        if let Some(last) = self.entries.back() {
            self.next_seq = self.next_seq.max(last.seq + 1);
        }
        self.drop_done_segments();
        self.make_room(0);
        Ok(())
    }

    /// The sequence the numbers belong to.
    pub fn stream(&self) -> StreamId {
        self.state.stream
    }

    /// Number of the oldest report that is held, or of the next one.
    pub fn first_seq(&self) -> u64 {
        self.entries.front().map_or(self.next_seq, |e| e.seq)
    }

    /// Number of the next report that is taken in.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Number of the last acknowledged report.
    pub fn acked(&self) -> u64 {
        self.state.acked
    }

    /// How many reports wait for their acknowledgement.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes taken on disk and in memory.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(Segment::size).sum::<u64>() + self.memory_bytes
    }

    /// Reports dropped since the spool was made, for want of room or because they were damaged.
    pub fn dropped(&self) -> u64 {
        self.state.dropped
    }

    /// Why the last report could not be written, if it could not.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Reports sent and not acknowledged yet.
    pub fn in_flight(&self) -> usize {
        self.cursor
    }

    /// Takes a report in, under the next number. `make` builds what is kept from that number. Never fails: what finds
    /// no room is counted as dropped.
    pub fn append(&mut self, make: impl FnOnce(u64) -> Option<Vec<u8>>) {
        let seq = self.next_seq;
        let Some(payload) = make(seq) else {
            self.count_drop(1);
            return;
        };
        self.next_seq += 1;
        let Ok(len) = u32::try_from(payload.len()) else {
            self.count_drop(1);
            return;
        };
        let needed = segment::record_bytes(len);
        if needed > self.max_bytes / 2 {
            self.count_drop(1);
            return;
        }
        self.make_room(needed);
        let written = self.write(seq, &payload);
        self.trouble = written.as_ref().err().map(ToString::to_string);
        let place = match written {
            Ok((segment, offset)) => Place::Disk { segment, offset },
            Err(_) if self.memory_bytes + u64::from(len) <= MEMORY_MAX => {
                self.memory_bytes += u64::from(len);
                Place::Memory(payload)
            }
            Err(_) => {
                self.count_drop(1);
                return;
            }
        };
        self.entries.push_back(Entry { seq, len, place });
    }

    /// The next report to send; moves on. `None` when all were sent.
    pub fn next_unsent(&mut self) -> Option<Record> {
        while let Some(entry) = self.entries.get(self.cursor) {
            let payload = match &entry.place {
                Place::Memory(payload) => Some(payload.clone()),
                Place::Disk { segment, offset } => self
                    .segments
                    .iter_mut()
                    .find(|s| s.first() == *segment)
                    .and_then(|s| s.read(*offset, entry.seq, entry.len)),
            };
            let seq = entry.seq;
            if let Some(payload) = payload {
                self.cursor += 1;
                let mut dropped = 0;
                if self.told.is_none() && self.state.untold > 0 {
                    dropped = self.state.untold;
                    self.told = Some((seq, dropped));
                }
                return Some(Record {
                    seq,
                    payload,
                    dropped,
                });
            }
            // Damaged since it was written: gone, and counted.
            self.entries.remove(self.cursor);
            self.count_drop(1);
        }
        None
    }

    /// A new link: everything that is not acknowledged is to be sent again. `acked` is what the hub says it has of this
    /// stream; a number that cannot be true is taken as none.
    pub fn resume(&mut self, acked: u64) {
        self.cursor = 0;
        if acked <= SEQ_MAX {
            self.forget_up_to(acked);
            // A hub that knows numbers we do not is ahead of a spool that lost its end: never use those again.
            self.next_seq = self.next_seq.max(acked + 1);
        }
        self.told = None;
    }

    /// The hub has stored everything up to `seq`. What was not sent to it on this link it cannot have stored.
    pub fn ack(&mut self, seq: u64) {
        let last_sent = self.cursor.checked_sub(1).and_then(|i| self.entries.get(i));
        if let Some(last_sent) = last_sent {
            self.forget_up_to(seq.min(last_sent.seq));
        }
    }

    fn forget_up_to(&mut self, seq: u64) {
        if seq <= self.state.acked {
            return;
        }
        self.state.acked = seq;
        if let Some((_, n)) = self.told.take_if(|(told_with, _)| *told_with <= seq) {
            self.state.untold = self.state.untold.saturating_sub(n);
        }
        while self.entries.front().is_some_and(|e| e.seq <= seq) {
            self.pop_front();
        }
        self.unwritten_acks += 1;
        let done = self.drop_done_segments();
        if done || self.unwritten_acks >= WRITE_STATE_EVERY {
            self.write_state();
        }
    }

    /// Writes down everything there is to know; call it before the end.
    pub fn close(&mut self) {
        if let Some(segment) = self.segments.back_mut() {
            segment.sync();
        }
        self.write_state();
    }

    /// If this fails, some reports are sent again after a restart, and the hub knows them by their numbers.
    fn write_state(&mut self) {
        if self.state.save(&self.dir).is_ok() {
            self.unwritten_acks = 0;
        }
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.cursor = self.cursor.saturating_sub(1);
            if let Place::Memory(payload) = entry.place {
                self.memory_bytes -= payload.len() as u64;
            }
        }
    }

    fn write(&mut self, seq: u64, payload: &[u8]) -> std::io::Result<(u64, u64)> {
        let full = self
            .segments
            .back()
            .is_none_or(|s| !s.is_writable() || s.size() >= self.segment_bytes);
        if full {
            self.segments.push_back(Segment::create(&self.dir, seq)?);
        }
        let Some(segment) = self.segments.back_mut() else {
            return Err(std::io::Error::other("no segment"));
        };
        segment
            .append(seq, payload)
            .map(|offset| (segment.first(), offset))
    }

    /// Drops the oldest until `needed` more bytes fit.
    fn make_room(&mut self, needed: u64) {
        while self.bytes() + needed > self.max_bytes {
            let Some(oldest) = self.segments.pop_front() else {
                break;
            };
            let first = oldest.first();
            oldest.delete();
            // Numbers ascend, so everything up to the segment's last entry is at the front.
            let is_in = |e: &Entry| matches!(e.place, Place::Disk { segment, .. } if segment == first);
            let lost = self.entries.iter().filter(|e| is_in(e)).count() as u64;
            let before_cursor = self.entries.iter().take(self.cursor).filter(|e| is_in(e)).count();
            self.entries.retain(|e| !is_in(e));
            self.cursor -= before_cursor;
            self.count_drop(lost);
        }
    }

    fn count_drop(&mut self, n: u64) {
        self.state.dropped += n;
        self.state.untold += n;
    }

    /// Deletes segments that hold nothing any more, but for the one that is written to.
    fn drop_done_segments(&mut self) -> bool {
        let mut any = false;
        while self.segments.len() > 1 || self.entries.is_empty() && self.segments.len() == 1 {
            let Some(front) = self.segments.front() else { break };
            let first = front.first();
            let oldest_on_disk = self.entries.iter().find_map(|e| match e.place {
                Place::Disk { segment, .. } => Some(segment),
                Place::Memory(_) => None,
            });
            let in_use = oldest_on_disk == Some(first);
            let still_small =
                self.segments.len() == 1 && front.is_writable() && front.size() < self.segment_bytes;
            if in_use || still_small {
                break;
            }
            if let Some(done) = self.segments.pop_front() {
                done.delete();
                any = true;
            }
        }
        any
    }
}

#[cfg(test)]
mod tests;
