//! Bits in bytes, lowest first.

use super::PageError;

#[derive(Debug, Default)]
pub(super) struct BitWriter {
    out: Vec<u8>,
    held: u64,
    count: u32,
}

impl BitWriter {
    /// The lowest `count` (at most 32) bits of `value`.
    pub(super) fn write(&mut self, value: u64, count: u32) {
        self.held |= (value & ((1 << count) - 1)) << self.count;
        self.count += count;
        while self.count >= 8 {
            self.out.push(self.held as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }

    /// What was written, filled up with zeros to a whole byte.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.out.push(self.held as u8);
        }
        self.out
    }
}

#[derive(Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bytes taken into `held` so far.
    taken: usize,
    held: u64,
    count: u32,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            taken: 0,
            held: 0,
            count: 0,
        }
    }

    fn fill(&mut self) {
        while self.count <= 56
            && let Some(byte) = self.bytes.get(self.taken)
        {
            self.held |= u64::from(*byte) << self.count;
            self.count += 8;
            self.taken += 1;
        }
    }

    /// The next `count` (at most 32) bits.
    pub(super) fn read(&mut self, count: u32) -> Result<u64, PageError> {
        self.fill();
        if self.count < count {
            return Err(PageError::Short);
        }
        let value = self.held & ((1 << count) - 1);
        self.held >>= count;
        self.count -= count;
        Ok(value)
    }

    /// How many ones come before the next zero, at most `limit` (at most 32); the zero is taken unless the limit was
    /// met.
    pub(super) fn ones(&mut self, limit: u32) -> Result<u32, PageError> {
        self.fill();
        let ones = self.held.trailing_ones().min(limit);
        let taken = if ones == limit { ones } else { ones + 1 };
        if self.count < taken {
            return Err(PageError::Short);
        }
        self.held >>= taken;
        self.count -= taken;
        Ok(ones)
    }

    /// The bytes after the last one of which a bit was read.
    pub(super) fn rest(self) -> &'a [u8] {
        &self.bytes[self.taken - (self.count / 8) as usize..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_back(parts in prop::collection::vec((any::<u64>(), 0u32..=32), 0..50)) {
            let mut writer = BitWriter::default();
            for (value, count) in &parts {
                writer.write(*value, *count);
            }
            let mut bytes = writer.finish();
            bytes.extend_from_slice(b"tail");
            let mut reader = BitReader::new(&bytes);
            for (value, count) in &parts {
                prop_assert_eq!(reader.read(*count), Ok(value & ((1 << count) - 1)));
            }
            prop_assert_eq!(reader.rest(), b"tail");
        }
    }

    #[test]
    fn counts_ones() {
        let mut reader = BitReader::new(&[0b0110_0111, 0xff]);
        assert_eq!(reader.ones(20), Ok(3));
        assert_eq!(reader.ones(20), Ok(0));
        assert_eq!(reader.ones(2), Ok(2), "the limit stands for the zero");
        assert_eq!(reader.ones(20), Ok(0));
        assert_eq!(reader.ones(8), Ok(8));
        assert_eq!(reader.ones(1), Err(PageError::Short));
    }
}
