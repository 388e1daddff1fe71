//! Metric pages: many series of one server over one stretch of time, in few bytes.
//!
//! This is pure: bytes in, values out. A page holds one *tick* list for all its series (values of one server come
//! together), and per series which ticks it has and one or more [`column`]s of values. Damaged bytes give an error,
//! never a panic, and never take more memory than [`Limits`] say.

mod bits;
pub(in crate::store) mod column;
pub(in crate::store) mod varint;

use varint::{read_varint, write_varint};

/// The first byte of every page.
const VERSION: u8 = 1;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
const ZSTD_LEVEL: i32 = 3;

/// What a page may hold: beyond it is damage, or an attempt to fill the memory.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a page after decompression.
    pub bytes: usize,
    /// Series in a page.
    pub series: usize,
    /// Ticks in a page.
    pub ticks: usize,
    /// The last of them.
    pub last_tick: i64,
    /// Values that are unpacked from it, all columns together.
    pub values: usize,
}

/// What this program writes, with room.
pub const LIMITS: Limits = Limits {
    bytes: 64 << 20,
    series: 100_000,
    ticks: 200_000,
    last_tick: u32::MAX as i64,
    values: 16_000_000,
};

/// Why bytes are no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// They end too early.
    #[error("the page is cut short")]
    Short,
    /// They hold what no writer writes.
    #[error("the page is damaged")]
    Damaged,
    /// They hold more than the limits allow.
    #[error("the page is larger than any that is written")]
    TooLarge,
    /// A newer program wrote them.
    #[error("the page's version {0} is not known")]
    Version(u8),
}

/// One series within a page.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Which.
    pub id: u64,
    /// When, in units of the page's choosing, rising, from 0 on.
    pub ticks: Vec<i64>,
    /// Values, one for each tick, in as many columns as the page has.
    pub columns: Vec<Vec<f64>>,
}

/// A page, unpacked. Series are in order of their ids.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Columns of each series: 1, or more for what was folded.
    pub width: u8,
    /// The series.
    pub series: Vec<Series>,
}

/// Packs a page. Ids must rise, ticks must rise within a series, columns must be as long as their ticks.
pub fn encode(page: &Page) -> Vec<u8> {
    let mut body = vec![page.width];
    let ticks = union(&page.series);
    write_varint(&mut body, ticks.len() as u64);
    column::encode_ints(&mut body, &ticks);
    write_varint(&mut body, page.series.len() as u64);
    let mut before = 0;
    for series in &page.series {
        write_varint(&mut body, series.id.wrapping_sub(before));
        before = series.id;
    }
    for series in &page.series {
        write_presence(&mut body, &ticks, &series.ticks);
    }
    let mut values = Vec::new();
    for series in &page.series {
        let begin = values.len();
        for column in &series.columns {
            column::encode(&mut values, column);
        }
        write_varint(&mut body, (values.len() - begin) as u64);
    }
    body.extend_from_slice(&values);

    let mut packed = vec![VERSION, ZSTD];
    match zstd::bulk::compress(&body, ZSTD_LEVEL) {
        Ok(smaller) if smaller.len() < body.len() => packed.extend_from_slice(&smaller),
        _ => {
            packed[1] = PLAIN;
            packed.extend_from_slice(&body);
        }
    }
    packed
}

/// Unpacks a page, or of its series only those that `wanted` says.
///
/// # Errors
/// When the bytes are no page, or one beyond [`LIMITS`].
pub fn decode(packed: &[u8], wanted: impl Fn(u64) -> bool) -> Result<Page, PageError> {
    let unpacked;
    let mut body = match packed {
        [VERSION, PLAIN, body @ ..] => body,
        [VERSION, ZSTD, body @ ..] => {
            unpacked = zstd::bulk::decompress(body, unpacked_bytes(body)?).map_err(|_| PageError::Damaged)?;
            &unpacked
        }
        [VERSION, _, ..] => return Err(PageError::Damaged),
        [version, _, ..] => return Err(PageError::Version(*version)),
        _ => return Err(PageError::Short),
    };
    let width = take(&mut body, 1)?[0];
    let ticks = bounded(read_varint(&mut body)?, LIMITS.ticks)?;
    let ticks = column::decode_ints(&mut body, ticks)?;
    if !ticks.is_sorted_by(|a, b| a < b) {
        return Err(PageError::Damaged);
    }
    // Whoever reckons with them or packs them again must not have to fear that numbers become too large.
    if ticks.first().is_some_and(|tick| *tick < 0)
        || ticks.last().is_some_and(|tick| *tick > LIMITS.last_tick)
    {
        return Err(PageError::TooLarge);
    }
    let count = bounded(read_varint(&mut body)?, LIMITS.series)?;
    let mut ids = Vec::with_capacity(count.min(body.len()));
    for _ in 0..count {
        let step = read_varint(&mut body)?;
        let id = ids
            .last()
            .copied()
            .unwrap_or(0u64)
            .checked_add(step)
            .ok_or(PageError::Damaged)?;
        if step == 0 && !ids.is_empty() {
            return Err(PageError::Damaged);
        }
        ids.push(id);
    }
    let mut present = Vec::with_capacity(count);
    for _ in 0..count {
        present.push(read_presence(&mut body, ticks.len())?);
    }
    let mut lengths = Vec::with_capacity(count);
    for _ in 0..count {
        lengths.push(usize::try_from(read_varint(&mut body)?).map_err(|_| PageError::Damaged)?);
    }
    let mut series = Vec::new();
    let mut left = LIMITS.values;
    for ((id, present), length) in ids.into_iter().zip(present).zip(lengths) {
        let mut values = take(&mut body, length)?;
        if !wanted(id) {
            continue;
        }
        let own: Vec<i64> = match &present {
            Presence::All => ticks.clone(),
            Presence::Runs(runs) => runs
                .iter()
                .flat_map(|(from, to)| &ticks[*from..*to])
                .copied()
                .collect(),
        };
        let needed = own.len().saturating_mul(usize::from(width).max(1));
        left = left.checked_sub(needed).ok_or(PageError::TooLarge)?;
        let mut columns = Vec::with_capacity(width.into());
        for _ in 0..width {
            columns.push(column::decode(&mut values, own.len())?);
        }
        if !values.is_empty() {
            return Err(PageError::Damaged);
        }
        series.push(Series {
            id,
            ticks: own,
            columns,
        });
    }
    if body.is_empty() {
        Ok(Page { width, series })
    } else {
        Err(PageError::Damaged)
    }
}

/// How large a compressed body says that it is.
fn unpacked_bytes(body: &[u8]) -> Result<usize, PageError> {
    let said = zstd::zstd_safe::get_frame_content_size(body).map_err(|_| PageError::Damaged)?;
    bounded(said.ok_or(PageError::Damaged)?, LIMITS.bytes)
}

fn bounded(count: u64, limit: usize) -> Result<usize, PageError> {
    usize::try_from(count)
        .ok()
        .filter(|count| *count <= limit)
        .ok_or(PageError::TooLarge)
}

fn take<'a>(from: &mut &'a [u8], length: usize) -> Result<&'a [u8], PageError> {
    let (taken, rest) = from.split_at_checked(length).ok_or(PageError::Short)?;
    *from = rest;
    Ok(taken)
}

/// All ticks of all series, in order.
fn union(series: &[Series]) -> Vec<i64> {
    let mut all: Vec<i64> = Vec::new();
    for series in series {
        // Nearly always all series have the same.
        if series.ticks != all {
            all.extend_from_slice(&series.ticks);
            all.sort_unstable();
            all.dedup();
        }
    }
    all
}

/// Which of a page's ticks a series has.
enum Presence {
    All,
    /// Ranges of positions.
    Runs(Vec<(usize, usize)>),
}

/// Zero for all; else how many runs, and for each how many ticks are skipped before it and how many it has.
fn write_presence(out: &mut Vec<u8>, all: &[i64], own: &[i64]) {
    if own.len() == all.len() {
        return write_varint(out, 0);
    }
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    for tick in own {
        at += all[at..].partition_point(|other| other < tick);
        match runs.last_mut() {
            Some((_, to)) if *to == at => *to += 1,
            _ => runs.push((at, at + 1)),
        }
        at += 1;
    }
    write_varint(out, runs.len() as u64 + 1);
    let mut before = 0;
    for (from, to) in runs {
        write_varint(out, (from - before) as u64);
        write_varint(out, (to - from) as u64);
        before = to;
    }
}

fn read_presence(body: &mut &[u8], ticks: usize) -> Result<Presence, PageError> {
    let runs = match read_varint(body)? {
        0 => return Ok(Presence::All),
        runs => bounded(runs - 1, ticks)?,
    };
    let mut found = Vec::with_capacity(runs.min(body.len()));
    let mut at = 0;
    for _ in 0..runs {
        let from = bounded(read_varint(body)?, ticks)? + at;
        let to = bounded(read_varint(body)?, ticks)? + from;
        if to > ticks || to == from {
            return Err(PageError::Damaged);
        }
        found.push((from, to));
        at = to;
    }
    Ok(Presence::Runs(found))
}

#[cfg(test)]
mod tests;
