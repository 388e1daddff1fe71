//! What is not in pages yet: the minutes under way, and old ones to which something came late. Pure.

use std::collections::{BTreeMap, HashMap};

use super::names::SourceId;
use super::tiers::{RAW, TIERS};
use crate::store::page::{Page, Series};

/// A minute is sealed so long after its end, ms: what is only a little late is in time.
const GRACE_MS: i64 = 5_000;
/// A minute to which something came late is sealed when nothing more came for so long, ms.
const QUIET_MS: i64 = 2_000;
/// … or after so long in any case, ms.
const PATIENCE_MS: i64 = 30_000;

/// The samples of one server in one minute; each series in order of time, each time once.
#[derive(Debug, Default)]
pub(super) struct Minute {
    /// In order of their numbers.
    series: Vec<(u64, Vec<(i64, f64)>)>,
    /// The place of the one that got a sample last.
    near: usize,
    /// The oldest journal record that something in here came with.
    pub(super) first_lsn: u64,
    opened_ms: i64,
    touched_ms: i64,
}

/// Names a minute: whose, and when it begins.
pub(super) type MinuteKey = (SourceId, i64);

/// All minutes that are held in memory.
#[derive(Debug, Default)]
pub(super) struct OpenMinutes {
    open: HashMap<MinuteKey, Minute>,
    /// Being written into pages right now; still read from here.
    sealing: HashMap<MinuteKey, Minute>,
    held: usize,
}

impl OpenMinutes {
    /// Takes samples: series, time, value. Gives how many are new: each time of a series counts once.
    pub(super) fn add_all(
        &mut self,
        source: SourceId,
        samples: impl IntoIterator<Item = (u64, i64, f64)>,
        lsn: u64,
        now_ms: i64,
    ) -> u64 {
        let mut added = 0;
        let mut samples = samples.into_iter().peekable();
        while let Some((_, at_ms, _)) = samples.peek() {
            let start = TIERS[RAW].page_of(*at_ms);
            let minute = self.open.entry((source, start)).or_insert_with(|| Minute {
                first_lsn: lsn,
                opened_ms: now_ms,
                ..Minute::default()
            });
            minute.touched_ms = now_ms;
            minute.first_lsn = minute.first_lsn.min(lsn);
            let within = start..start + TIERS[RAW].span_ms;
            while let Some((id, at_ms, value)) = samples.next_if(|(_, at_ms, _)| within.contains(at_ms)) {
                added += usize::from(minute.add(id, at_ms, value));
            }
        }
        self.held += added;
        added as u64
    }

    /// How many samples are held.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// The oldest journal record that is still needed for what is in here.
    pub(super) fn oldest_lsn(&self) -> Option<u64> {
        self.open
            .values()
            .chain(self.sealing.values())
            .map(|minute| minute.first_lsn)
            .min()
    }

    /// Begins to seal minutes that are over: at most so many, oldest first. They stay readable until [`Self::sealed`].
    pub(super) fn begin_sealing(&mut self, now_ms: i64, most: usize) -> Vec<(MinuteKey, Page)> {
        let span = TIERS[RAW].span_ms;
        let mut ripe: Vec<MinuteKey> = self
            .open
            .iter()
            .filter(|((_, start), minute)| {
                start + span + GRACE_MS <= now_ms
                    && (minute.touched_ms + QUIET_MS <= now_ms || minute.opened_ms + PATIENCE_MS <= now_ms)
            })
            .map(|(key, _)| *key)
            .collect();
        ripe.sort_unstable_by_key(|(source, start)| (*start, *source));
        ripe.truncate(most);
        ripe.into_iter()
            .filter_map(|key| {
                let minute = self.open.remove(&key)?;
                let page = minute.page(key.1);
                self.sealing.insert(key, minute);
                Some((key, page))
            })
            .collect()
    }

    /// They are in pages now, durably.
    pub(super) fn sealed(&mut self) {
        for minute in std::mem::take(&mut self.sealing).into_values() {
            self.held -= minute.held();
        }
    }

    /// They could not be written: back to where they were.
    pub(super) fn not_sealed(&mut self) {
        for ((source, _), minute) in std::mem::take(&mut self.sealing) {
            for (id, samples) in minute.series {
                self.held -= samples.len();
                let samples = samples.into_iter().map(|(at_ms, value)| (id, at_ms, value));
                self.add_all(source, samples, minute.first_lsn, minute.touched_ms);
            }
        }
    }

    /// Drops everything of a server.
    pub(super) fn forget(&mut self, source: SourceId) {
        let Self { open, sealing, held } = self;
        for minutes in [open, sealing] {
            minutes.retain(|(owner, _), minute| {
                if *owner == source {
                    *held -= minute.held();
                }
                *owner != source
            });
        }
    }

    /// What a server has between two times, for the series that are wanted: by minute and series.
    pub(super) fn read(
        &self,
        source: SourceId,
        from_ms: i64,
        to_ms: i64,
        wanted: &dyn Fn(u64) -> bool,
    ) -> BTreeMap<i64, BTreeMap<u64, Vec<(i64, f64)>>> {
        let mut found: BTreeMap<i64, BTreeMap<u64, Vec<(i64, f64)>>> = BTreeMap::new();
        let span = TIERS[RAW].span_ms;
        for ((owner, start), minute) in self.open.iter().chain(&self.sealing) {
            if *owner != source || *start >= to_ms || start + span <= from_ms {
                continue;
            }
            let series = found.entry(*start).or_default();
            for (id, samples) in minute.series.iter().filter(|(id, _)| wanted(*id)) {
                series.entry(*id).or_default().extend(samples);
            }
        }
        for samples in found.values_mut().flat_map(BTreeMap::values_mut) {
            once_each(samples);
        }
        found
    }
}

impl Minute {
    /// False when there is a sample of that series and time already.
    fn add(&mut self, id: u64, at_ms: i64, value: f64) -> bool {
        let samples = self.samples_of(id);
        match samples.last() {
            Some((last, _)) if *last >= at_ms => match samples.binary_search_by_key(&at_ms, |(at, _)| *at) {
                Ok(_) => return false,
                Err(place) => samples.insert(place, (at_ms, value)),
            },
            _ => samples.push((at_ms, value)),
        }
        true
    }

    fn samples_of(&mut self, id: u64) -> &mut Vec<(i64, f64)> {
        // They come in the same order each time: it is the same one, the one behind it, or the first again.
        let near = [self.near, self.near + 1, 0];
        let is_it = |place: &usize| self.series.get(*place).is_some_and(|(other, _)| *other == id);
        self.near = near.into_iter().find(is_it).unwrap_or_else(|| {
            self.series
                .binary_search_by_key(&id, |(other, _)| *other)
                .unwrap_or_else(|place| {
                    self.series.insert(place, (id, Vec::new()));
                    place
                })
        });
        &mut self.series[self.near].1
    }

    fn held(&self) -> usize {
        self.series.iter().map(|(_, samples)| samples.len()).sum()
    }

    fn page(&self, start_ms: i64) -> Page {
        let series = self.series.iter().map(|(id, samples)| Series {
            id: *id,
            ticks: samples.iter().map(|(at_ms, _)| at_ms - start_ms).collect(),
            columns: vec![samples.iter().map(|(_, value)| *value).collect()],
        });
        Page {
            width: 1,
            series: series.collect(),
        }
    }
}

/// Sorts by time and keeps the first of each.
pub(super) fn once_each(samples: &mut Vec<(i64, f64)>) {
    // Nearly always they are in order.
    if samples.is_sorted_by(|one, next| one.0 < next.0) {
        return;
    }
    samples.sort_by_key(|(at_ms, _)| *at_ms);
    samples.dedup_by_key(|(at_ms, _)| *at_ms);
}

/// Raw pages that become one. Where several have a sample of the same time, that of the first one counts.
#[derive(Debug, Default)]
pub(super) struct Merge {
    series: BTreeMap<u64, Vec<(i64, f64)>>,
    samples: usize,
}

impl Merge {
    /// Adds a page whose ticks count from `after_ms` after the beginning of the whole.
    pub(super) fn add(&mut self, after_ms: i64, page: Page) {
        for series in page.series {
            let values = series.columns.into_iter().next().unwrap_or_default();
            let ticks = series.ticks.into_iter().map(|tick| tick + after_ms);
            self.samples += values.len();
            self.series
                .entry(series.id)
                .or_default()
                .extend(ticks.zip(values));
        }
    }

    /// Samples taken in so far.
    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    /// The one page.
    pub(super) fn finish(self) -> Page {
        let series = self.series.into_iter().map(|(id, mut samples)| {
            once_each(&mut samples);
            let (ticks, values) = samples.into_iter().unzip();
            Series {
                id,
                ticks,
                columns: vec![values],
            }
        });
        Page {
            width: 1,
            series: series.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: SourceId = SourceId(1);

    fn add(minutes: &mut OpenMinutes, id: u64, at_ms: i64, value: f64, lsn: u64, now_ms: i64) -> bool {
        minutes.add_all(ONE, [(id, at_ms, value)], lsn, now_ms) == 1
    }

    #[test]
    fn a_minute_is_sealed_when_it_is_over_and_quiet() {
        let mut minutes = OpenMinutes::default();
        assert!(add(&mut minutes, 5, 1_000, 1.0, 10, 1_000));
        assert!(!add(&mut minutes, 5, 1_000, 2.0, 11, 1_000), "a time counts once");
        assert!(add(&mut minutes, 5, 61_000, 2.0, 12, 61_000));
        assert_eq!(minutes.begin_sealing(64_999, 9).len(), 0);
        let sealing = minutes.begin_sealing(65_000, 9);
        assert_eq!(sealing.len(), 1);
        assert_eq!(sealing[0].0, (ONE, 0));
        assert_eq!(minutes.oldest_lsn(), Some(10), "not safe yet");
        assert_eq!(
            minutes.read(ONE, 0, 120_000, &|_| true).len(),
            2,
            "still readable"
        );
        minutes.sealed();
        assert_eq!((minutes.oldest_lsn(), minutes.held()), (Some(12), 1));

        assert!(add(&mut minutes, 5, 2_000, 1.0, 13, 70_000), "late");
        assert_eq!(minutes.begin_sealing(71_000, 9).len(), 0, "more may come");
        assert_eq!(minutes.begin_sealing(72_000, 9).len(), 1);
    }

    #[test]
    fn what_could_not_be_written_is_kept() {
        let mut minutes = OpenMinutes::default();
        add(&mut minutes, 5, 1_000, 1.0, 10, 1_000);
        assert_eq!(minutes.begin_sealing(100_000, 9).len(), 1);
        add(&mut minutes, 5, 2_000, 2.0, 20, 100_000);
        minutes.not_sealed();
        assert_eq!((minutes.oldest_lsn(), minutes.held()), (Some(10), 2));
        assert_eq!(
            minutes.read(ONE, 0, 60_000, &|_| true)[&0][&5],
            [(1_000, 1.0), (2_000, 2.0)]
        );
        minutes.forget(ONE);
        assert_eq!((minutes.oldest_lsn(), minutes.held()), (None, 0));
    }

    proptest! {
        /// In whatever order and however often samples come: each counts once, the first one's value.
        #[test]
        fn order_and_repetition_do_not_matter(samples in prop::collection::vec((0i64..200, 0u64..3), 0..300)) {
            let mut minutes = OpenMinutes::default();
            let mut kept = BTreeMap::new();
            for (n, (at, id)) in samples.iter().enumerate() {
                let fresh = add(&mut minutes, *id, at * 1000, n as f64, 0, 0);
                prop_assert_eq!(fresh, !kept.contains_key(&(*id, at * 1000)));
                kept.entry((*id, at * 1000)).or_insert(n as f64);
            }
            let read: BTreeMap<(u64, i64), f64> = minutes
                .read(ONE, 0, i64::MAX, &|_| true)
                .into_values()
                .flatten()
                .flat_map(|(id, samples)| samples.into_iter().map(move |(at, value)| ((id, at), value)))
                .collect();
            prop_assert_eq!(minutes.held(), kept.len());
            prop_assert_eq!(read, kept);
        }
    }
}
