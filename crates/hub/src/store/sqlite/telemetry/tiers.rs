//! How fine history is, and how fine pages become coarse ones. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::options::Retention;
use crate::store::page::{Page, Series, column};
use crate::store::telemetry::Point;

/// One fineness of history.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tier {
    /// Width of a step, ms; 1 where samples are kept as they are.
    pub(super) width_ms: i64,
    /// What one page covers, ms.
    pub(super) span_ms: i64,
}

pub(super) const RAW: usize = 0;
/// Steps of ten seconds: made only when the samples go, since out of an hour of these they are made in no time.
pub(super) const TENS: usize = 1;
/// Steps of a minute: made of the samples, or where these are gone of the steps of ten seconds.
pub(super) const MINUTES: usize = 2;
/// What the database calls the pages of raw samples that cover a whole hour: minutes are packed into these when their hour
/// is over. Only how they lie on disk is different.
pub(super) const PACKED: i64 = 4;
const SECOND: i64 = 1000;
pub(super) const HOUR: i64 = 3600 * SECOND;

/// From fine to coarse. Each span is a multiple of the one before, and of its own width.
pub(super) const TIERS: [Tier; 4] = [
    Tier {
        width_ms: 1,
        span_ms: 60 * SECOND,
    },
    Tier {
        width_ms: 10 * SECOND,
        span_ms: HOUR,
    },
    Tier {
        width_ms: 60 * SECOND,
        span_ms: 6 * HOUR,
    },
    Tier {
        width_ms: HOUR,
        span_ms: 168 * HOUR,
    },
];

/// The hour that this time lies in.
pub(super) fn hour_of(at_ms: i64) -> i64 {
    at_ms - at_ms.rem_euclid(HOUR)
}

/// How much of a tier is made anew when something finer changed, ms: of a page of minutes one hour.
pub(super) fn part_ms(tier: usize) -> i64 {
    if tier == MINUTES {
        HOUR
    } else {
        TIERS[tier].span_ms
    }
}

impl Tier {
    /// Where the page begins that covers this time.
    pub(super) fn page_of(self, at_ms: i64) -> i64 {
        at_ms - at_ms.rem_euclid(self.span_ms)
    }
}

/// How long a tier is kept, ms.
pub(super) fn kept_ms(retention: &Retention, tier: usize) -> i64 {
    let kept = [
        retention.raw,
        retention.ten_seconds,
        retention.minutes,
        retention.hours,
    ][tier];
    // Coarser ones are made out of finer ones: these must not go before they were used.
    let least = Duration::from_millis(TIERS.get(tier + 1).map_or(0, |next| next.span_ms.unsigned_abs()));
    i64::try_from(kept.max(least).as_millis()).unwrap_or(i64::MAX)
}

/// The coarsest tier whose steps are not wider than what is asked for.
pub(super) fn tier_for(step_ms: i64) -> usize {
    TIERS
        .iter()
        .rposition(|tier| tier.width_ms <= step_ms)
        .unwrap_or(RAW)
}

/// The points of one series of a page that begins at `start_ms`.
pub(super) fn points(tier: usize, start_ms: i64, series: &Series) -> impl Iterator<Item = Point> + '_ {
    let width = TIERS[tier].width_ms;
    let column = move |n: usize, at: usize| {
        series
            .columns
            .get(n)
            .and_then(|c| c.get(at))
            .copied()
            .unwrap_or_default()
    };
    series.ticks.iter().enumerate().map(move |(at, tick)| {
        let at_ms = start_ms.saturating_add(tick.saturating_mul(width));
        let first = column(0, at);
        if tier == RAW {
            Point {
                at_ms,
                min: first,
                max: first,
                sum: first,
                count: 1,
            }
        } else {
            Point {
                at_ms,
                min: first,
                max: column(1, at),
                sum: column(2, at),
                count: column(3, at) as u64,
            }
        }
    })
}

/// Adds what another point amounts to.
pub(super) fn add(to: &mut Point, other: &Point) {
    to.min = to.min.min(other.min);
    to.max = to.max.max(other.max);
    to.sum += other.sum;
    to.count += other.count;
}

/// A coarse page in the making.
#[derive(Debug, Default)]
pub(super) struct Fold {
    series: BTreeMap<u64, BTreeMap<i64, Point>>,
}

impl Fold {
    /// Takes the points of a page of the tier `finer` in: each goes into the step of `tier` that it lies in.
    pub(super) fn add_finer(&mut self, tier: usize, finer: usize, finer_start_ms: i64, page: &Page) {
        let width = TIERS[tier].width_ms;
        for series in &page.series {
            let sums = series
                .columns
                .get(if finer == RAW { 0 } else { 2 })
                .map_or(&[][..], Vec::as_slice);
            let power = column::decimals(sums);
            let steps = self.series.entry(series.id).or_default();
            // Points come in order, many to a step.
            let mut under_way: Option<Point> = None;
            for point in points(finer, finer_start_ms, series) {
                let at_ms = point.at_ms - point.at_ms.rem_euclid(width);
                match &mut under_way {
                    Some(step) if step.at_ms == at_ms => add(step, &point),
                    _ => {
                        let done = under_way.replace(Point { at_ms, ..point });
                        put(steps, done, power);
                    }
                }
            }
            put(steps, under_way, power);
        }
    }

    /// Puts steps of an older version of the page in place of those made here: these say of which part. They were made of
    /// samples that are gone by now, and what came late counts only where there was nothing.
    pub(super) fn keep_older(
        &mut self,
        tier: usize,
        start_ms: i64,
        older: &Page,
        which: impl Fn(i64) -> bool,
    ) {
        for series in &older.series {
            let steps = self.series.entry(series.id).or_default();
            for point in points(tier, start_ms, series).filter(|point| which(point.at_ms)) {
                steps.insert(point.at_ms, point);
            }
        }
    }

    /// The page.
    pub(super) fn finish(self, tier: usize, start_ms: i64) -> Page {
        let width = TIERS[tier].width_ms;
        let series = self
            .series
            .into_iter()
            .filter(|(_, steps)| !steps.is_empty())
            .map(|(id, steps)| Series {
                id,
                ticks: steps.keys().map(|at_ms| (at_ms - start_ms) / width).collect(),
                columns: vec![
                    steps.values().map(|p| p.min).collect(),
                    steps.values().map(|p| p.max).collect(),
                    steps.values().map(|p| p.sum).collect(),
                    steps.values().map(|p| p.count as f64).collect(),
                ],
            });
        Page {
            width: 4,
            series: series.collect(),
        }
    }
}

/// Adds what was gathered for a step to it.
fn put(steps: &mut BTreeMap<i64, Point>, gathered: Option<Point>, power: Option<u8>) {
    let Some(gathered) = gathered else { return };
    let step = steps
        .entry(gathered.at_ms)
        .and_modify(|step| add(step, &gathered))
        .or_insert(gathered);
    if let Some(power) = power {
        step.sum = column::rounded(step.sum, power);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(ticks: &[i64], values: &[f64]) -> Page {
        Page {
            width: 1,
            series: vec![Series {
                id: 7,
                ticks: ticks.to_vec(),
                columns: vec![values.to_vec()],
            }],
        }
    }

    #[test]
    fn spans_fit_into_each_other() {
        for pair in TIERS.windows(2) {
            assert_eq!(pair[1].span_ms % pair[0].span_ms, 0);
            assert_eq!(pair[1].span_ms % pair[1].width_ms, 0);
            assert_eq!(pair[0].span_ms % pair[1].width_ms.min(pair[0].span_ms), 0);
        }
        assert_eq!(tier_for(500), RAW);
        assert_eq!(tier_for(10_000), 1);
        assert_eq!(tier_for(i64::MAX), 3);
    }

    #[test]
    fn folding_keeps_extremes_sums_and_counts() {
        let mut fold = Fold::default();
        fold.add_finer(
            TENS,
            RAW,
            0,
            &raw(&[0, 9_999, 10_000, 59_000], &[0.1, 0.2, 5.0, -1.0]),
        );
        fold.add_finer(TENS, RAW, 60_000, &raw(&[0], &[7.0]));
        let page = fold.finish(1, 0);
        assert_eq!(page.series[0].ticks, [0, 1, 5, 6]);
        let seen: Vec<Point> = points(1, 0, &page.series[0]).collect();
        // 0.1 + 0.2 is 0.30000000000000004: the dust is taken off.
        assert_eq!(
            seen[0],
            Point {
                at_ms: 0,
                min: 0.1,
                max: 0.2,
                sum: 0.3,
                count: 2
            }
        );
        assert_eq!(
            seen[2],
            Point {
                at_ms: 50_000,
                min: -1.0,
                max: -1.0,
                sum: -1.0,
                count: 1
            }
        );
        assert_eq!(seen[3].at_ms, 60_000);
    }

    #[test]
    fn late_samples_fill_gaps_and_change_nothing_else() {
        let mut before = Fold::default();
        before.add_finer(TENS, RAW, 0, &raw(&[0, 1000], &[1.0, 3.0]));
        let older = before.finish(1, 0);
        let mut fold = Fold::default();
        fold.add_finer(TENS, RAW, 0, &raw(&[0, 20_000], &[1.0, 9.0]));
        fold.keep_older(TENS, 0, &older, |_| true);
        let page = fold.finish(1, 0);
        let seen: Vec<(i64, u64)> = points(1, 0, &page.series[0])
            .map(|p| (p.at_ms, p.count))
            .collect();
        assert_eq!(seen, [(0, 2), (20_000, 1)]);
    }
}
