//! Pipes that were made larger for a flood.
//!
//! A larger pipe lets an app write on while the pump moves what it wrote before. But the kernel counts the pages of all pipes of a user
//! (`/proc/sys/fs/pipe-user-pages-soft`), and one who has used them up gets tiny pipes. So only those grow that flood, only as long as
//! what we know of leaves half of these pages to others, and they shrink again when the flood is over.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::stream::StreamId;

/// What a pipe has unless somebody changed it.
pub(crate) const COMMON: usize = 64 * 1024;
/// What it has in a flood.
pub(crate) const WIDE: usize = 256 * 1024;
/// All pipes together may be larger than they came by so much.
const BUDGET: usize = 16 * 1024 * 1024;
/// How long after a flood its pipe stays large.
const CALM: Duration = Duration::from_secs(10);
/// The kernel's limit for the pages of all pipes of a user; 0: none. It does not hold for root.
const SOFT_LIMIT: &str = "/proc/sys/fs/pipe-user-pages-soft";

/// The pipes that are larger than they came.
pub(crate) struct WidePipes {
    /// How many bytes all pipes that we know of may have together, if some are to be large.
    share: usize,
    /// When each shrinks again.
    until: BTreeMap<StreamId, Instant>,
}

impl WidePipes {
    pub(crate) fn new() -> Self {
        let limit = std::fs::read_to_string(SOFT_LIMIT).ok();
        let pages = limit.and_then(|text| text.trim().parse().ok());
        Self {
            share: match pages {
                Some(pages @ 1..) if !rustix::process::geteuid().is_root() => share(pages),
                _ => usize::MAX,
            },
            until: BTreeMap::new(),
        }
    }

    /// A stream comes with this pipe: a former daemon may have made it large.
    pub(crate) fn adopt(&mut self, id: StreamId, capacity: usize, now: Instant) {
        if capacity == WIDE {
            self.until.insert(id, now + CALM);
        }
    }

    /// Makes the pipe of a flood large, or keeps it so for some time more. Returns its size if that is new. There are so many `streams`.
    pub(crate) fn widen(
        &mut self,
        id: StreamId,
        pipe: &OwnedFd,
        capacity: usize,
        streams: usize,
        now: Instant,
    ) -> Option<usize> {
        if let Some(until) = self.until.get_mut(&id) {
            *until = now + CALM;
            return None;
        }
        let extra = (self.until.len() + 1) * (WIDE - COMMON);
        if capacity >= WIDE || extra > BUDGET || streams.saturating_mul(COMMON) + extra > self.share {
            return None;
        }
        // Refused above the user's share: then it stays as it is.
        let size = rustix::pipe::fcntl_setpipe_size(pipe, WIDE).ok()?;
        self.until.insert(id, now + CALM);
        Some(size)
    }

    /// When the first of them may shrink.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.until.values().min().copied()
    }

    /// Those whose flood is over.
    pub(crate) fn calm(&self, now: Instant) -> Vec<StreamId> {
        let calm = self.until.iter().filter(|(_, until)| **until <= now);
        calm.map(|(id, _)| *id).collect()
    }

    /// Makes a pipe small again. Returns its size; `None` while it holds too much for that.
    pub(crate) fn narrow(&mut self, id: StreamId, pipe: &OwnedFd, now: Instant) -> Option<usize> {
        match rustix::pipe::fcntl_setpipe_size(pipe, COMMON) {
            Ok(size) => {
                self.until.remove(&id);
                Some(size)
            }
            Err(_) => {
                self.until.insert(id, now + CALM);
                None
            }
        }
    }

    /// A stream has gone.
    pub(crate) fn forget(&mut self, id: StreamId) {
        self.until.remove(&id);
    }
}

/// Half of so many pages, in bytes.
fn share(pages: usize) -> usize {
    pages.saturating_mul(rustix::param::page_size()) / 2
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_pipe_grows_for_a_flood_and_shrinks_when_it_is_over_and_read() {
        let mut wide = WidePipes::new();
        let id = StreamId(1);
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let pipe = OwnedFd::from(reader.try_clone().unwrap());
        let start = Instant::now();
        assert_eq!(wide.widen(id, &pipe, COMMON, 2, start), Some(WIDE));
        assert_eq!(rustix::pipe::fcntl_getpipe_size(&pipe), Ok(WIDE));
        // The flood goes on: so long it stays as it is.
        let later = start + CALM / 2;
        assert_eq!(wide.widen(id, &pipe, WIDE, 2, later), None);
        assert_eq!(wide.calm(start + CALM), []);
        assert_eq!(wide.next(), Some(later + CALM));

        let text = vec![b'x'; WIDE];
        writer.write_all(&text).unwrap();
        let calm = later + CALM;
        assert_eq!(wide.calm(calm), [id]);
        assert_eq!(wide.narrow(id, &pipe, calm), None);
        reader.read_exact(&mut vec![0; WIDE]).unwrap();
        assert_eq!(wide.calm(calm), []);
        assert_eq!(wide.calm(calm + CALM), [id]);
        assert_eq!(wide.narrow(id, &pipe, calm + CALM), Some(COMMON));
        assert_eq!(wide.next(), None);
    }

    #[test]
    fn what_a_former_daemon_made_large_shrinks_too_and_what_others_did_stays() {
        let mut wide = WidePipes::new();
        let now = Instant::now();
        wide.adopt(StreamId(1), WIDE, now);
        wide.adopt(StreamId(2), COMMON, now);
        wide.adopt(StreamId(3), 1024 * 1024, now);
        assert_eq!(wide.calm(now + CALM), [StreamId(1)]);
        wide.forget(StreamId(1));
        assert_eq!(wide.next(), None);
    }

    #[test]
    fn all_together_leave_half_of_the_pages_to_others() {
        let mut wide = WidePipes::new();
        // Ten pipes, and what two large ones have more.
        let pages = 2 * (10 * COMMON + 2 * (WIDE - COMMON)) / rustix::param::page_size();
        wide.share = share(pages);
        let pipes: Vec<_> = (0..3).map(|_| std::io::pipe().unwrap()).collect();
        let ends: Vec<_> = pipes
            .iter()
            .map(|(read, _)| OwnedFd::from(read.try_clone().unwrap()))
            .collect();
        let now = Instant::now();
        assert_eq!(wide.widen(StreamId(1), &ends[0], COMMON, 10, now), Some(WIDE));
        assert_eq!(wide.widen(StreamId(2), &ends[1], COMMON, 11, now), None);
        assert_eq!(wide.widen(StreamId(2), &ends[1], COMMON, 10, now), Some(WIDE));
        assert_eq!(wide.widen(StreamId(3), &ends[2], COMMON, 10, now), None);
        assert_eq!(rustix::pipe::fcntl_getpipe_size(&ends[2]), Ok(COMMON));
        wide.forget(StreamId(1));
        assert_eq!(wide.widen(StreamId(3), &ends[2], COMMON, 10, now), Some(WIDE));
    }

    #[test]
    fn without_a_limit_there_is_one_of_our_own() {
        let mut wide = WidePipes::new();
        wide.share = usize::MAX;
        let now = Instant::now();
        for id in 0..(BUDGET / (WIDE - COMMON)) as u64 {
            wide.adopt(StreamId(id), WIDE, now);
        }
        let (read, _write) = std::io::pipe().unwrap();
        assert_eq!(
            wide.widen(StreamId(1000), &OwnedFd::from(read), COMMON, 1, now),
            None
        );
    }
}
