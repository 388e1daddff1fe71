//! Series over a time range: memory and pages of all tiers, as one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::Inner;
use super::names::SourceId;
use super::open::once_each;
use super::tiers::{HOUR, MINUTES, PACKED, RAW, TENS, TIERS, add, hour_of, part_ms, points, tier_for};
use crate::store::StoreError;
use crate::store::page::{Page, decode};
use crate::store::sqlite::database::Sql;
use crate::store::telemetry::{Point, RangeQuery, SeriesInfo, SeriesRange};

const MAX_POINTS: u32 = 10_000;
/// Points of one answer, all series together.
const MAX_ANSWER: usize = 5_000_000;

/// Steps that people read easily, ms. From 10 s on they are whole steps of a tier that fits.
const NICE_STEPS: [i64; 31] = [
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    30_000,
    60_000,
    120_000,
    300_000,
    600_000,
    900_000,
    1_800_000,
    3_600_000,
    7_200_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    172_800_000,
    259_200_000,
    345_600_000,
    604_800_000,
];

/// Samples in memory: by minute and series.
type Held = BTreeMap<i64, BTreeMap<u64, Vec<(i64, f64)>>>;

/// What is asked of one server.
struct Wanted {
    source: SourceId,
    series: HashMap<u64, (SeriesInfo, BTreeMap<i64, Point>)>,
    held: Held,
}

/// How a range is cut into steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Steps {
    tier: usize,
    step_ms: i64,
    from_ms: i64,
    to_ms: i64,
}

impl Steps {
    /// Steps lie at multiples of their width, so that a picture that moves with time does not flicker.
    fn of(from_ms: i64, to_ms: i64, points: u32) -> Self {
        let most = i64::from(points.clamp(1, MAX_POINTS));
        let span = to_ms - from_ms;
        if most == 1 {
            // One step over everything, made of steps fine enough for its ends.
            let tier = tier_for(span / 100);
            let from_ms = from_ms - from_ms.rem_euclid(TIERS[tier].width_ms);
            return Self {
                tier,
                step_ms: to_ms - from_ms,
                from_ms,
                to_ms,
            };
        }
        // One less, since a range that does not begin at a step touches one more.
        let least = (span + most - 2) / (most - 1);
        let nice = NICE_STEPS.iter().copied().find(|step| *step >= least);
        // Beyond the table: whole weeks.
        let weeks = || (least as u64).next_multiple_of(604_800_000).cast_signed();
        let step_ms = nice.unwrap_or_else(weeks);
        let tier = tier_for(step_ms);
        let from_ms = from_ms - from_ms.rem_euclid(step_ms);
        Self {
            tier,
            step_ms,
            from_ms,
            to_ms,
        }
    }

    fn step_of(self, at_ms: i64) -> i64 {
        at_ms - (at_ms - self.from_ms).rem_euclid(self.step_ms)
    }
}

pub(super) async fn range(inner: &Inner, query: RangeQuery) -> Result<Vec<SeriesRange>, StoreError> {
    let from_ms = query.from_ms.max(0);
    let to_ms = query.to_ms.min(i64::MAX / 4);
    if from_ms >= to_ms {
        return Ok(Vec::new());
    }
    let steps = Steps::of(from_ms, to_ms, query.points);
    let wanted = find(inner, &query, steps)?;
    let found = inner
        .db
        .read("read history", move |db| {
            // One state of the database: minutes that are packed meanwhile are neither missing nor there twice.
            let _same = db.unchecked_transaction()?;
            wanted
                .into_iter()
                .map(|wanted| read(db, wanted, steps))
                .collect::<Sql<Vec<Wanted>>>()
        })
        .await?;
    let mut all: Vec<SeriesRange> = found
        .into_iter()
        .flat_map(|wanted| wanted.series.into_values())
        .filter(|(_, points)| !points.is_empty())
        .map(|(series, points)| SeriesRange {
            series,
            step_ms: steps.step_ms,
            points: points.into_values().collect(),
        })
        .collect();
    all.sort_by(|a, b| a.series.cmp(&b.series));
    Ok(all)
}

/// The series that are asked for, with what is in memory of them.
fn find(inner: &Inner, query: &RangeQuery, steps: Steps) -> Result<Vec<Wanted>, StoreError> {
    let names = inner.names();
    let mut wanted: HashMap<SourceId, Wanted> = HashMap::new();
    let mut count = 0;
    for (source, known) in names.of(query.bucket, query.server) {
        let info = &known.info;
        let fits = info.metric == query.metric
            && query
                .app
                .as_ref()
                .is_none_or(|app| info.app.as_ref() == Some(app))
            && query.pm_id.is_none_or(|pm_id| info.pm_id == Some(pm_id));
        if fits {
            count += 1;
            let of = wanted.entry(source).or_insert_with(|| Wanted {
                source,
                series: HashMap::new(),
                held: Held::new(),
            });
            of.series.insert(known.id, (info.clone(), BTreeMap::new()));
        }
    }
    if count * query.points.clamp(1, MAX_POINTS) as usize > MAX_ANSWER {
        return Err(StoreError::TooLarge(
            "the answer: ask for fewer points or one server",
        ));
    }
    let state = inner.state();
    for of in wanted.values_mut() {
        of.held = state.minutes.read(of.source, steps.from_ms, steps.to_ms, &|id| {
            of.series.contains_key(&id)
        });
    }
    Ok(wanted.into_values().collect())
}

/// Adds what is in pages, and what is in memory.
fn read(db: &Connection, mut wanted: Wanted, steps: Steps) -> Sql<Wanted> {
    let plan = Plan::of(db, wanted.source, &wanted.held, steps)?;
    let Wanted { source, series, held } = &mut wanted;
    let pages = Pages {
        db,
        source: *source,
        wanted: series.keys().copied().collect(),
    };
    for ((tier, start_ms), clips) in &plan.reads {
        let mut put = |id: u64, point: Point| {
            if clips.iter().any(|(from, to)| (*from..*to).contains(&point.at_ms))
                && let Some((_, points)) = series.get_mut(&id)
            {
                let at_ms = steps.step_of(point.at_ms);
                points
                    .entry(at_ms)
                    .and_modify(|step| add(step, &point))
                    .or_insert(Point { at_ms, ..point });
            }
        };
        if *tier != RAW {
            for series in pages
                .get(*tier as i64, *start_ms)?
                .iter()
                .flat_map(|page| &page.series)
            {
                points(*tier, *start_ms, series).for_each(|point| put(series.id, point));
            }
            continue;
        }
        for (id, samples) in plan.hour_of_samples(&pages, *start_ms, clips, held)? {
            for (at_ms, value) in samples {
                put(
                    id,
                    Point {
                        at_ms,
                        min: value,
                        max: value,
                        sum: value,
                        count: 1,
                    },
                );
            }
        }
    }
    Ok(wanted)
}

/// The pages of one server, for the series that are wanted.
struct Pages<'a> {
    db: &'a Connection,
    source: SourceId,
    wanted: HashSet<u64>,
}

impl Pages<'_> {
    fn get(&self, tier: i64, start_ms: i64) -> Sql<Option<Page>> {
        let packed: Option<Vec<u8>> = self
            .db
            .prepare_cached("SELECT body FROM pages WHERE source = ?1 AND tier = ?2 AND start_ms = ?3")?
            .query_row(params![self.source.0, tier, start_ms], |row| row.get(0))
            .optional()?;
        Ok(
            match packed.map(|packed| decode(&packed, |id| self.wanted.contains(&id))) {
                None => None,
                Some(Ok(page)) => Some(page),
                Some(Err(error)) => {
                    tracing::error!(source = self.source.0, tier, start_ms, %error, "a page of history cannot be read");
                    None
                }
            },
        )
    }
}

/// Which pages to read, and which part of each.
struct Plan {
    /// By tier and beginning; samples by their hour, however they lie there.
    reads: BTreeMap<(usize, i64), Vec<(i64, i64)>>,
    /// What there is, by tier.
    present: [BTreeSet<i64>; TIERS.len()],
    /// Hours of packed samples.
    packed: BTreeSet<i64>,
    /// Parts of folded pages of which finer ones know better.
    stale: HashSet<(usize, i64)>,
    /// Before this, what a tier is made of is gone.
    gone: [i64; TIERS.len()],
}

impl Plan {
    fn of(db: &Connection, source: SourceId, held: &Held, steps: Steps) -> Sql<Self> {
        let gone = super::upkeep::gone_before(db)?;
        let mut plan = Self {
            reads: BTreeMap::new(),
            present: Default::default(),
            packed: BTreeSet::new(),
            stale: HashSet::new(),
            gone: [i64::MIN, gone[RAW], gone[RAW].min(gone[TENS]), gone[MINUTES]],
        };
        let mut present = db.prepare_cached(
            "SELECT start_ms FROM pages WHERE source = ?1 AND tier = ?2 AND start_ms >= ?3 AND start_ms < ?4",
        )?;
        let mut stale = db.prepare_cached(
            "SELECT start_ms FROM stale WHERE source = ?1 AND tier = ?2 AND start_ms >= ?3 AND start_ms < ?4",
        )?;
        let starts = |statement: &mut CachedStatement<'_>, tier: i64, from_ms: i64| -> Sql<Vec<i64>> {
            let found =
                statement.query_map(params![source.0, tier, from_ms, steps.to_ms], |row| row.get(0))?;
            Ok(found.collect::<Result<_, _>>()?)
        };
        for (n, tier) in TIERS.iter().enumerate() {
            let from_ms = tier.page_of(steps.from_ms);
            plan.present[n].extend(starts(&mut present, n as i64, from_ms)?);
            plan.stale.extend(
                starts(&mut stale, n as i64, from_ms)?
                    .into_iter()
                    .map(|start| (n, start)),
            );
        }
        plan.packed
            .extend(starts(&mut present, PACKED, hour_of(steps.from_ms))?);
        // What is above something in memory, or above stale steps of a minute, is stale as well.
        let minutes: Vec<i64> = plan
            .stale
            .iter()
            .filter(|(of, _)| *of == MINUTES)
            .map(|(_, start)| *start)
            .collect();
        for (n, tier) in TIERS.iter().enumerate().skip(TENS) {
            let part = |start: &i64| {
                if n <= MINUTES {
                    hour_of(*start)
                } else {
                    tier.page_of(*start)
                }
            };
            plan.stale.extend(held.keys().map(|start| (n, part(start))));
            if n > MINUTES {
                plan.stale.extend(minutes.iter().map(|start| (n, part(start))));
            }
        }
        plan.present[RAW].extend(held.keys());
        plan.cover_all(steps);
        Ok(plan)
    }

    fn cover_all(&mut self, steps: Steps) {
        let tier = TIERS[steps.tier];
        let mut start = tier.page_of(steps.from_ms);
        while start < steps.to_ms {
            let (from, to) = (start.max(steps.from_ms), (start + tier.span_ms).min(steps.to_ms));
            if !self.cover(steps.tier, from, to) {
                // The fine pages are gone: coarse ones are better than nothing.
                let coarse = (steps.tier + 1..TIERS.len())
                    .find(|n| self.present[*n].contains(&TIERS[*n].page_of(start)));
                match coarse {
                    Some(coarse) => self.read(coarse, TIERS[coarse].page_of(start), from, to),
                    // Nothing here: on to where something is.
                    None => {
                        let after = |pages: &BTreeSet<i64>, span: i64| {
                            pages.range(start + tier.span_ms - span + 1..).next().copied()
                        };
                        let next = (0..TIERS.len())
                            .filter_map(|n| after(&self.present[n], TIERS[n].span_ms))
                            .chain(after(&self.packed, HOUR))
                            .min();
                        let Some(next) = next else { return };
                        start = tier.page_of(next).max(start + tier.span_ms);
                        continue;
                    }
                }
            }
            start += tier.span_ms;
        }
    }

    fn read(&mut self, tier: usize, start: i64, from: i64, to: i64) {
        let clips = self.reads.entry((tier, start)).or_default();
        match clips.last_mut() {
            Some((_, end)) if *end == from => *end = to,
            _ => clips.push((from, to)),
        }
    }

    /// Plans to read a range at this fineness, or finer where steps are not made or stale. False when there is nothing.
    fn cover(&mut self, tier: usize, from: i64, to: i64) -> bool {
        let part = if tier == RAW { HOUR } else { part_ms(tier) };
        let mut start = from - from.rem_euclid(part);
        let mut any = false;
        while start < to {
            let (clip_from, clip_to) = (start.max(from), (start + part).min(to));
            let page = if tier == RAW {
                start
            } else {
                TIERS[tier].page_of(start)
            };
            let there = if tier == RAW {
                self.has(RAW, clip_from, clip_to)
            } else {
                self.present[tier].contains(&page)
            };
            let finer_is_better =
                self.stale.contains(&(tier, start)) && tier > RAW && start >= self.gone[tier];
            if there && !finer_is_better {
                self.read(tier, page, clip_from, clip_to);
                any = true;
            } else if (0..tier).any(|n| self.has(n, clip_from, clip_to)) {
                any |= self.cover(tier - 1, clip_from, clip_to);
            }
            start += part;
        }
        any
    }

    /// Whether a tier has anything between two times.
    fn has(&self, tier: usize, from: i64, to: i64) -> bool {
        let any = |pages: &BTreeSet<i64>, first: i64| pages.range(first..to).next().is_some();
        any(&self.present[tier], TIERS[tier].page_of(from)) || tier == RAW && any(&self.packed, hour_of(from))
    }

    /// The samples of an hour, as far as they are within the clips, each time once: what was packed first, what is in
    /// memory last.
    fn hour_of_samples(
        &self,
        pages: &Pages<'_>,
        hour: i64,
        clips: &[(i64, i64)],
        held: &mut Held,
    ) -> Sql<BTreeMap<u64, Vec<(i64, f64)>>> {
        let mut found: BTreeMap<u64, Vec<(i64, f64)>> = BTreeMap::new();
        let mut take = |start_ms: i64, page: Option<Page>| {
            for series in page.iter().flat_map(|page| &page.series) {
                let samples = points(RAW, start_ms, series).map(|point| (point.at_ms, point.sum));
                found.entry(series.id).or_default().extend(samples);
            }
        };
        if self.packed.contains(&hour) {
            take(hour, pages.get(PACKED, hour)?);
        }
        let minutes = || {
            let span = TIERS[RAW].span_ms;
            let wanted = move |start: &&i64| {
                clips
                    .iter()
                    .any(|(from, to)| **start < *to && **start + span > *from)
            };
            self.present[RAW].range(hour..hour + HOUR).filter(wanted)
        };
        for minute in minutes() {
            take(*minute, pages.get(RAW as i64, *minute)?);
        }
        for minute in minutes() {
            for (id, samples) in held.remove(minute).unwrap_or_default() {
                found.entry(id).or_default().extend(samples);
            }
        }
        found.values_mut().for_each(once_each);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_whole_steps_of_a_tier_and_not_too_many() {
        let day = 86_400_000;
        for (span, points, tier) in [
            (60_000, 600, RAW),
            (3_600_000, 300, 1),
            (day, 500, 2),
            (400 * day, 1000, 3),
            (day, 1, 2),
            (5, 10_000, RAW),
        ] {
            let from = 1_700_000_000_123;
            let steps = Steps::of(from, from + span, points);
            assert_eq!(steps.tier, tier, "{span} {points}");
            assert!(
                points == 1 || steps.step_ms % TIERS[tier].width_ms == 0,
                "{steps:?}"
            );
            assert!(steps.from_ms <= from && steps.from_ms + steps.step_ms > from);
            let touched = (steps.step_of(from + span - 1) - steps.step_of(steps.from_ms)) / steps.step_ms + 1;
            assert!(touched <= i64::from(points), "{span} {points}: {touched}");
        }
    }
}
