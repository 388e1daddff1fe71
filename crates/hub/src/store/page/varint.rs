//! Integers in as few bytes as they need, seven bits a byte.

use super::PageError;

pub(in crate::store) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(in crate::store) fn read_varint(from: &mut &[u8]) -> Result<u64, PageError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first().ok_or(PageError::Short)?;
        *from = rest;
        if shift == 63 && *byte > 1 {
            return Err(PageError::Damaged);
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(PageError::Damaged)
}

/// Small numbers of either sign become small numbers without one.
pub(in crate::store) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(in crate::store) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_back(value: u64, signed: i64) {
            let mut out = Vec::new();
            write_varint(&mut out, value);
            let mut left = out.as_slice();
            prop_assert_eq!(read_varint(&mut left), Ok(value));
            prop_assert!(left.is_empty());
            prop_assert_eq!(unzigzag(zigzag(signed)), signed);
        }
    }

    #[test]
    fn more_than_64_bits_are_damage() {
        assert_eq!(read_varint(&mut [0xff; 10].as_slice()), Err(PageError::Damaged));
        assert_eq!(read_varint(&mut [0x80].as_slice()), Err(PageError::Short));
    }
}
