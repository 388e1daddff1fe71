//! One file of records: `[length u32][checksum u32][number u64][payload]`, little-endian. The checksum is CRC-32 over
//! number and payload.

use super::SpoolError;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const HEADER: u64 = 16;
/// A length beyond this is damage, not a record.
const MAX_PAYLOAD: u32 = 32 << 20;
const EXTENSION: &str = "seg";

/// Bytes that a payload takes on disk.
pub(super) fn record_bytes(len: u32) -> u64 {
    HEADER + u64::from(len)
}

/// Where a record stands.
pub(super) struct Found {
    pub(super) seq: u64,
    pub(super) offset: u64,
    pub(super) len: u32,
}

#[derive(Debug)]
pub(super) struct Segment {
    first: u64,
    path: PathBuf,
    file: File,
    size: u64,
    /// An append failed and could not be undone: only read from now on.
    broken: bool,
}

/// First numbers of the segments in a folder, ascending.
pub(super) fn list(dir: &Path) -> Result<Vec<u64>, SpoolError> {
    let failed = |source| SpoolError {
        path: dir.to_owned(),
        doing: "listing",
        source,
    };
    let mut firsts = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|e| e == EXTENSION)
            && let Some(first) = path
                .file_stem()
                .and_then(|s| s.to_str())
                .and_then(|s| s.parse().ok())
        {
            firsts.push(first);
        }
    }
    firsts.sort_unstable();
    Ok(firsts)
}

fn path_of(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.{EXTENSION}"))
}

impl Segment {
    pub(super) fn create(dir: &Path, first: u64) -> io::Result<Self> {
        let path = path_of(dir, first);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self {
            first,
            path,
            file,
            size: 0,
            broken: false,
        })
    }

    /// Opens a segment and finds its records. What follows the last sound record is cut off.
    pub(super) fn load(dir: &Path, first: u64) -> Result<(Self, Vec<Found>), SpoolError> {
        // A name that was written by hand may have fewer digits.
        let path = path_of(dir, first);
        let failed = |doing| {
            let path = path.clone();
            move |source| SpoolError { path, doing, source }
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed("opening"))?;
        let len = file.metadata().map_err(failed("looking at"))?.len();
        let mut segment = Self {
            first,
            path: path.clone(),
            file,
            size: 0,
            broken: false,
        };
        let mut records = Vec::new();
        while let Some(found) = segment.at(segment.size, len) {
            segment.size += record_bytes(found.len);
            records.push(found);
        }
        if segment.size < len {
            segment
                .file
                .set_len(segment.size)
                .map_err(failed("cutting the torn end of"))?;
        }
        Ok((segment, records))
    }

    /// The sound record at an offset.
    fn at(&self, offset: u64, end: u64) -> Option<Found> {
        let mut header = [0u8; HEADER as usize];
        if offset + HEADER > end || self.file.read_exact_at(&mut header, offset).is_err() {
            return None;
        }
        let (len, _, seq) = split(&header);
        if len > MAX_PAYLOAD || offset + record_bytes(len) > end {
            return None;
        }
        self.read(offset, seq, len).map(|_| Found { seq, offset, len })
    }

    /// The payload of a record, if it is sound.
    pub(super) fn read(&self, offset: u64, seq: u64, len: u32) -> Option<Vec<u8>> {
        let mut header = [0u8; HEADER as usize];
        self.file.read_exact_at(&mut header, offset).ok()?;
        let (has_len, sum, has_seq) = split(&header);
        let mut payload = vec![0u8; len as usize];
        self.file.read_exact_at(&mut payload, offset + HEADER).ok()?;
        (has_len == len && has_seq == seq && sum == checksum(seq, &payload)).then_some(payload)
    }

    /// Appends a record and gives its offset. On an error the segment is as before.
    pub(super) fn append(&mut self, seq: u64, payload: &[u8]) -> io::Result<u64> {
        let len = u32::try_from(payload.len())
            .ok()
            .filter(|len| *len <= MAX_PAYLOAD)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "record is too large"))?;
        let mut record = Vec::with_capacity(payload.len() + HEADER as usize);
        record.extend(len.to_le_bytes());
        record.extend(checksum(seq, payload).to_le_bytes());
        record.extend(seq.to_le_bytes());
        record.extend(payload);
        let offset = self.size;
        if let Err(e) = self.file.write_all_at(&record, offset) {
            self.broken = self.file.set_len(offset).is_err();
            return Err(e);
        }
        self.size += record.len() as u64;
        Ok(offset)
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn is_writable(&self) -> bool {
        !self.broken
    }

    pub(super) fn sync(&mut self) {
        let _ = self.file.sync_data();
    }

    /// A file that cannot be removed is found again at the next opening; its numbers are known as acknowledged.
    pub(super) fn delete(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn split(header: &[u8; HEADER as usize]) -> (u32, u32, u64) {
    let (len, rest) = header.split_at(4);
    let (sum, seq) = rest.split_at(4);
    let four = |b: &[u8]| b.try_into().map_or(0, u32::from_le_bytes);
    (four(len), four(sum), seq.try_into().map_or(0, u64::from_le_bytes))
}

fn checksum(seq: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seq.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}
