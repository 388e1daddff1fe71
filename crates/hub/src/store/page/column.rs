//! One column of numbers: decimals become integers, integers become small residuals, residuals become few bits.
//!
//! Measured values are short decimals (`3.2` %, `12.34` ms) or multiples of something (memory in pages of 4096), so
//! that a power of ten and a common divisor turn nearly all of them into small integers without loss. What is left is
//! coded in the cheapest of four ways: one constant; changes with gaps between them; Rice codes of the differences; or
//! Rice codes of the distances from the mean, which is shorter where values are noise around a level.

use super::bits::{BitReader, BitWriter};
use super::varint::{read_varint, unzigzag, write_varint, zigzag};
use super::{PageError, take};

const FLOATS: u8 = 0;
const CONSTANT: u8 = 1;
const SPARSE: u8 = 2;
const DIFFERENCES: u8 = 3;
const DISTANCES: u8 = 4;
/// The mode is in the low bits of the tag, the power of ten above.
const MODE_BITS: u8 = 3;

const POWERS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Integers up to here are exact as floats.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// Ones in a row that say: here comes a whole number instead.
const ESCAPE: u32 = 20;
const MAX_K: u32 = 31;

/// The smallest power of ten that makes all values integers that turn back into exactly these values.
pub(in crate::store) fn decimals(values: &[f64]) -> Option<u8> {
    let mut power = 0;
    for value in values {
        while !is_whole(*value, power) {
            power += 1;
            if usize::from(power) == POWERS.len() {
                return None;
            }
        }
    }
    // A power that is enough for one may be too much for a large other.
    values
        .iter()
        .all(|value| is_whole(*value, power))
        .then_some(power)
}

fn is_whole(value: f64, power: u8) -> bool {
    let scale = POWERS[usize::from(power)];
    let whole = (value * scale).round();
    whole.abs() <= EXACT && whole / scale == value
}

/// The integers that `values` are at this power of ten.
pub(super) fn scaled(values: &[f64], power: u8) -> Vec<i64> {
    values
        .iter()
        .map(|value| (value * POWERS[usize::from(power)]).round() as i64)
        .collect()
}

/// The value of an integer at this power of ten.
pub(super) fn unscaled(whole: i64, power: u8) -> f64 {
    whole as f64 / POWERS[usize::from(power)]
}

/// `value` at the precision of its power of ten: takes the dust off a sum.
pub(in crate::store) fn rounded(value: f64, power: u8) -> f64 {
    let whole = (value * POWERS[usize::from(power)]).round();
    if whole.abs() <= EXACT {
        whole / POWERS[usize::from(power)]
    } else {
        value
    }
}

/// Appends a column. The reader must know how many values it has.
pub(super) fn encode(out: &mut Vec<u8>, values: &[f64]) {
    match decimals(values) {
        Some(power) => encode_scaled(out, &scaled(values, power), power),
        None => {
            out.push(FLOATS);
            for value in values {
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
    }
}

/// Takes a column of `count` values.
pub(super) fn decode(from: &mut &[u8], count: usize) -> Result<Vec<f64>, PageError> {
    if count == 0 {
        take(from, 1)?;
        return Ok(Vec::new());
    }
    if from.first() == Some(&FLOATS) {
        let bytes = take(from, 1 + count.checked_mul(8).ok_or(PageError::TooLarge)?)?;
        return Ok(bytes[1..]
            .as_chunks()
            .0
            .iter()
            .map(|chunk| f64::from_le_bytes(*chunk))
            .collect());
    }
    let (whole, power) = decode_scaled(from, count)?;
    Ok(whole.into_iter().map(|whole| unscaled(whole, power)).collect())
}

/// Appends integers of at most 53 bits.
pub(super) fn encode_ints(out: &mut Vec<u8>, values: &[i64]) {
    encode_scaled(out, values, 0);
}

/// Takes `count` integers.
pub(super) fn decode_ints(from: &mut &[u8], count: usize) -> Result<Vec<i64>, PageError> {
    if count == 0 {
        take(from, 1)?;
        return Ok(Vec::new());
    }
    Ok(decode_scaled(from, count)?.0)
}

fn encode_scaled(out: &mut Vec<u8>, values: &[i64], power: u8) {
    let tag = |mode: u8| mode | power << MODE_BITS;
    let Some((&first, rest)) = values.split_first() else {
        return out.push(tag(CONSTANT));
    };
    let divisor = rest
        .iter()
        .fold(0, |divisor, value| gcd(divisor, value.abs_diff(first)));
    if divisor == 0 {
        out.push(tag(CONSTANT));
        return write_varint(out, zigzag(first));
    }
    // From here on in units of the divisor, from the first value on.
    let units: Vec<i64> = values
        .iter()
        .map(|value| (value - first) / divisor as i64)
        .collect();
    let differences: Vec<u64> = units.windows(2).map(|pair| zigzag(pair[1] - pair[0])).collect();
    let mean = (units.iter().map(|unit| i128::from(*unit)).sum::<i128>() / units.len() as i128) as i64;
    let distances: Vec<u64> = units[1..].iter().map(|unit| zigzag(unit - mean)).collect();

    let sparse = sparse_bits(&differences);
    let (k_differences, by_differences) = best_rice(&differences);
    let (k_distances, by_distances) = best_rice(&distances);
    let by_distances = by_distances + 8;
    let head = |out: &mut Vec<u8>, mode| {
        out.push(tag(mode));
        write_varint(out, zigzag(first));
        write_varint(out, divisor);
    };
    if sparse <= by_differences && sparse <= by_distances {
        head(out, SPARSE);
        write_sparse(out, &differences);
    } else if by_differences <= by_distances {
        head(out, DIFFERENCES);
        out.push(k_differences as u8);
        write_rice(out, &differences, k_differences);
    } else {
        head(out, DISTANCES);
        out.push(k_distances as u8);
        write_varint(out, zigzag(mean));
        write_rice(out, &distances, k_distances);
    }
}

fn decode_scaled(from: &mut &[u8], count: usize) -> Result<(Vec<i64>, u8), PageError> {
    let tag = take(from, 1)?[0];
    let (mode, power) = (tag & ((1 << MODE_BITS) - 1), tag >> MODE_BITS);
    if usize::from(power) >= POWERS.len() {
        return Err(PageError::Damaged);
    }
    let first = unzigzag(read_varint(from)?);
    if mode == CONSTANT {
        return Ok((vec![first; count], power));
    }
    let divisor = read_varint(from)? as i64;
    let mut values = Vec::with_capacity(count);
    values.push(first);
    // Damaged bytes may overflow: the result is as wrong as they are, and nothing worse.
    let value = |unit: i64| first.wrapping_add(unit.wrapping_mul(divisor));
    match mode {
        SPARSE => {
            let mut unit = 0i64;
            let changes = read_varint(from)?;
            for _ in 0..changes {
                let gap = read_varint(from)?;
                if gap >= (count - values.len()) as u64 {
                    return Err(PageError::Damaged);
                }
                values.resize(values.len() + gap as usize, value(unit));
                unit = unit.wrapping_add(unzigzag(read_varint(from)?));
                values.push(value(unit));
            }
            values.resize(count, value(unit));
        }
        DIFFERENCES => {
            let k = u32::from(take(from, 1)?[0]);
            let mut unit = 0i64;
            read_rice(from, k, count - 1, |difference| {
                unit = unit.wrapping_add(unzigzag(difference));
                values.push(value(unit));
            })?;
        }
        DISTANCES => {
            let k = u32::from(take(from, 1)?[0]);
            let mean = unzigzag(read_varint(from)?);
            read_rice(from, k, count - 1, |distance| {
                values.push(value(mean.wrapping_add(unzigzag(distance))));
            })?;
        }
        _ => return Err(PageError::Damaged),
    }
    Ok((values, power))
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// How many changes, and each with the number of values before it that do not change.
fn write_sparse(out: &mut Vec<u8>, differences: &[u64]) {
    write_varint(
        out,
        differences.iter().filter(|difference| **difference != 0).count() as u64,
    );
    let mut gap = 0;
    for difference in differences {
        if *difference == 0 {
            gap += 1;
        } else {
            write_varint(out, gap);
            write_varint(out, *difference);
            gap = 0;
        }
    }
}

fn varint_bits(value: u64) -> u64 {
    u64::from((64 - value.leading_zeros()).max(1).div_ceil(7)) * 8
}

fn sparse_bits(differences: &[u64]) -> u64 {
    // Gaps are short: a byte each, but for a few.
    8 + differences
        .iter()
        .filter(|difference| **difference != 0)
        .map(|d| 8 + varint_bits(*d))
        .sum::<u64>()
}

/// The parameter with which Rice codes are shortest, and how many bits they take.
fn best_rice(values: &[u64]) -> (u32, u64) {
    let sum: u128 = values.iter().map(|value| u128::from(*value)).sum();
    let mean = sum / values.len().max(1) as u128;
    let near = (128 - mean.leading_zeros()).min(MAX_K);
    (near.saturating_sub(2)..=(near + 1).min(MAX_K))
        .map(|k| {
            (
                k,
                values.iter().map(|value| rice_bits(*value, k)).sum::<u64>() + 8,
            )
        })
        .min_by_key(|(_, bits)| *bits)
        .unwrap_or((0, 0))
}

fn rice_bits(value: u64, k: u32) -> u64 {
    let quotient = value >> k;
    if quotient < u64::from(ESCAPE) {
        quotient + 1 + u64::from(k)
    } else {
        u64::from(ESCAPE) + 64
    }
}

fn write_rice(out: &mut Vec<u8>, values: &[u64], k: u32) {
    let mut bits = BitWriter::default();
    for value in values {
        let quotient = value >> k;
        if quotient < u64::from(ESCAPE) {
            bits.write((1 << quotient) - 1, quotient as u32 + 1);
            bits.write(*value, k);
        } else {
            bits.write((1 << ESCAPE) - 1, ESCAPE);
            bits.write(*value, 32);
            bits.write(*value >> 32, 32);
        }
    }
    out.extend_from_slice(&bits.finish());
}

fn read_rice(from: &mut &[u8], k: u32, count: usize, mut found: impl FnMut(u64)) -> Result<(), PageError> {
    if k > MAX_K {
        return Err(PageError::Damaged);
    }
    let mut bits = BitReader::new(from);
    for _ in 0..count {
        let quotient = bits.ones(ESCAPE)?;
        found(if quotient < ESCAPE {
            u64::from(quotient) << k | bits.read(k)?
        } else {
            bits.read(32)? | bits.read(32)? << 32
        });
    }
    *from = bits.rest();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packed(values: &[f64]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, values);
        out
    }

    fn check(values: &[f64]) -> Vec<u8> {
        let bytes = packed(values);
        let mut left = bytes.as_slice();
        assert_eq!(decode(&mut left, values.len()).unwrap(), values, "{bytes:?}");
        assert!(left.is_empty());
        bytes
    }

    #[test]
    fn each_shape_gets_the_code_that_suits_it() {
        let mode = |values: &[f64]| check(values)[0] & 7;
        assert_eq!(mode(&[52_428_800.0; 60]), CONSTANT);
        let mut stairs = [10.0; 60];
        stairs[30..].fill(11.0);
        assert_eq!(mode(&stairs), SPARSE);
        let climb: Vec<f64> = (0..60).map(|n| f64::from(n * n)).collect();
        assert_eq!(mode(&climb), DIFFERENCES);
        let noise: Vec<f64> = (0..60u32)
            .map(|n| f64::from(n.wrapping_mul(2_654_435_761) >> 20) / 10.0)
            .collect();
        assert_eq!(mode(&noise), DISTANCES);
        assert_eq!(mode(&[std::f64::consts::PI; 3]), FLOATS);
    }

    #[test]
    fn few_bytes_for_what_servers_report() {
        let cpu: Vec<f64> = (0..60u32)
            .map(|n| f64::from(n.wrapping_mul(2_654_435_761) >> 28) / 10.0)
            .collect();
        assert!(check(&cpu).len() <= 45, "{}", packed(&cpu).len());
        let memory: Vec<f64> = (0..60u32).map(|n| 5e7 + f64::from((n % 3) * 4096)).collect();
        assert!(check(&memory).len() <= 30, "{}", packed(&memory).len());
    }

    #[test]
    fn extremes_come_back() {
        for values in [
            vec![],
            vec![0.0],
            vec![f64::MAX, f64::MIN, f64::MIN_POSITIVE],
            vec![9_007_199_254_740_992.0, -9_007_199_254_740_992.0, 0.0],
            vec![0.1, 9_007_199_254_740_991.0],
            vec![f64::INFINITY, 1.0],
            vec![0.000_000_001, 0.3],
            vec![1.0, 1e15, 1.0, -1e15],
        ] {
            check(&values);
        }
    }

    proptest! {
        #[test]
        fn any_numbers_come_back(values in prop::collection::vec(any::<f64>().prop_filter("", |v| !v.is_nan()), 0..100)) {
            check(&values);
        }

        #[test]
        fn decimals_come_back(power in 0u8..6, values in prop::collection::vec(-1_000_000i64..1_000_000, 0..100)) {
            let values: Vec<f64> = values.into_iter().map(|value| unscaled(value, power)).collect();
            let bytes = check(&values);
            prop_assert!(values.is_empty() || bytes[0] != FLOATS);
        }

        #[test]
        fn walks_come_back(start in -1_000_000i64..1_000_000, unit in 1i64..5000, steps in prop::collection::vec(-20i64..20, 0..200)) {
            let mut at = start;
            let values: Vec<f64> = steps.into_iter().map(|step| { at += step * unit; at as f64 }).collect();
            check(&values);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, count in 0usize..1000) {
            if let Ok(values) = decode(&mut bytes.as_slice(), count) {
                prop_assert_eq!(values.len(), count);
            }
        }
    }
}
