//! Makes batches durable before they are pages: segments of records, appended and synced in groups.
//!
//! A record is applied to memory when it is on disk, and only then its sender hears that it was taken. After a crash
//! the records are applied again. A segment is removed when everything in it is in pages. Since a sample counts once
//! per series and time, applying what is already in a page does no harm.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::record::Record;
use crate::store::sqlite::database::{Sql, io};

const MAGIC: &[u8; 8] = b"PHJRNL1\n";
/// A segment that is longer gets no more records.
const SEGMENT_BYTES: u64 = 16 << 20;
/// Bytes of one record at most.
const MAX_RECORD: usize = 64 << 20;
/// Length and checksum before each record.
const HEAD: usize = 8;

/// The journal of one folder, open for appending.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    segments: Vec<Segment>,
    file: Option<File>,
    buffer: Vec<u8>,
    next_lsn: u64,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    path: PathBuf,
    bytes: u64,
    last_lsn: u64,
}

impl Journal {
    /// Opens the journal of a folder and applies what is in it, oldest first. Appending begins in a new segment, since
    /// the end of the last one may be torn. `after` is the number below which records were never written before.
    pub(super) fn open(folder: &Path, after: u64, mut apply: impl FnMut(Record)) -> Sql<Self> {
        let mut segments = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|error| io("list", folder, error))? {
            let path = entry.map_err(|error| io("list", folder, error))?.path();
            if let Some(number) = number_of(&path) {
                segments.push(Segment {
                    number,
                    path,
                    bytes: 0,
                    last_lsn: 0,
                });
            }
        }
        segments.sort_by_key(|segment| segment.number);
        let mut next_lsn = after + 1;
        for segment in &mut segments {
            let mut bytes = Vec::new();
            File::open(&segment.path)
                .and_then(|mut file| file.read_to_end(&mut bytes))
                .map_err(|error| io("read", &segment.path, error))?;
            segment.bytes = bytes.len() as u64;
            let left = replay(&bytes, |record| {
                segment.last_lsn = record.lsn;
                next_lsn = next_lsn.max(record.lsn + 1);
                apply(record);
            });
            if left > 0 {
                // What was never acknowledged may be half there.
                tracing::warn!(segment = %segment.path.display(), bytes = left, "the journal's segment ends in an unfinished record");
            }
        }
        Ok(Self {
            folder: folder.into(),
            segments,
            file: None,
            buffer: Vec::new(),
            next_lsn,
        })
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Appends a record to the group that [`Self::commit`] writes; numbers it.
    pub(super) fn add(&mut self, record: &mut Record) -> Result<(), ()> {
        record.lsn = self.next_lsn;
        let begin = self.buffer.len();
        self.buffer.extend_from_slice(&[0; HEAD]);
        record.write(&mut self.buffer);
        let body = &self.buffer[begin + HEAD..];
        if body.len() > MAX_RECORD {
            self.buffer.truncate(begin);
            return Err(());
        }
        let (length, sum) = (body.len() as u32, crc32fast::hash(body));
        self.buffer[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
        self.buffer[begin + 4..begin + HEAD].copy_from_slice(&sum.to_le_bytes());
        self.next_lsn += 1;
        Ok(())
    }

    /// Writes the group and syncs it; on failure nothing of it is in the journal.
    pub(super) fn commit(&mut self) -> Sql<()> {
        let group = std::mem::take(&mut self.buffer);
        let done = self.write(&group);
        self.buffer = group;
        self.buffer.clear();
        done
    }

    fn write(&mut self, group: &[u8]) -> Sql<()> {
        if group.is_empty() {
            return Ok(());
        }
        if self.segments.last().is_none_or(|last| last.bytes > SEGMENT_BYTES) {
            self.file = None;
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => self.begin_segment()?,
        };
        let Some(segment) = self.segments.last_mut() else {
            return Ok(());
        };
        let done = (&file).write_all(group).and_then(|()| file.sync_data());
        match done {
            Ok(()) => {
                segment.bytes += group.len() as u64;
                segment.last_lsn = self.next_lsn - 1;
                self.file = Some(file);
                Ok(())
            }
            // Half a group may be there. The segment is closed: if it cannot even be shortened, replay stops there.
            Err(error) => {
                let _ = file.set_len(segment.bytes);
                Err(io("write", &segment.path, error))
            }
        }
    }

    fn begin_segment(&mut self) -> Sql<File> {
        let number = self.segments.last().map_or(0, |last| last.number) + 1;
        let path = self.folder.join(format!("journal-{number:010}.log"));
        let fail = |error| io("create", &path, error);
        let mut file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(fail)?;
        let begun = file
            .write_all(MAGIC)
            .and_then(|()| File::open(&self.folder))
            .and_then(|folder| folder.sync_all());
        if let Err(error) = begun {
            let _ = std::fs::remove_file(&path);
            return Err(fail(error));
        }
        self.segments.push(Segment {
            number,
            path,
            bytes: MAGIC.len() as u64,
            last_lsn: 0,
        });
        Ok(file)
    }

    /// Removes the segments of which no record from `lsn` on is part.
    pub(super) fn forget_before(&mut self, lsn: u64) {
        let current = self
            .file
            .is_some()
            .then(|| self.segments.last().map(|last| last.number))
            .flatten();
        self.segments.retain(|segment| {
            let needed = segment.last_lsn >= lsn || Some(segment.number) == current && segment.bytes <= SEGMENT_BYTES;
            if !needed && let Err(error) = std::fs::remove_file(&segment.path) {
                tracing::warn!(segment = %segment.path.display(), %error, "could not remove a segment of the journal");
                return true;
            }
            needed
        });
    }

    /// Lets the next record begin a new segment, so that the current one can be removed when its time comes.
    pub(super) fn rotate(&mut self) {
        if self.segments.last().is_some_and(|last| last.last_lsn > 0) {
            self.file = None;
        }
    }
}

fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?
        .to_str()?
        .strip_prefix("journal-")?
        .strip_suffix(".log")?
        .parse()
        .ok()
}

/// Applies the records of a segment up to the first that is not whole; gives how many bytes are left from there.
fn replay(bytes: &[u8], mut apply: impl FnMut(Record)) -> usize {
    let Some(mut left) = bytes.strip_prefix(MAGIC) else {
        return bytes.len();
    };
    while let Some((head, rest)) = left.split_first_chunk::<HEAD>() {
        let word = |n: usize| u32::from_le_bytes([head[n], head[n + 1], head[n + 2], head[n + 3]]);
        let Some((body, after)) = rest.split_at_checked(word(0) as usize) else {
            break;
        };
        if crc32fast::hash(body) != word(4) {
            break;
        }
        let Ok(record) = Record::read(body) else { break };
        apply(record);
        left = after;
    }
    left.len()
}

#[cfg(test)]
mod tests {
    use super::super::names::SourceId;
    use super::super::record::tests::record as any_record;
    use super::*;
    use proptest::prelude::*;

    fn record(seq: u64) -> Record {
        Record {
            lsn: 0,
            source: SourceId(1),
            stream: Some(("s".into(), seq)),
            samples: vec![(1, 2, 3.0)],
            events: vec![],
        }
    }

    fn seqs(folder: &Path) -> (Journal, Vec<u64>) {
        let mut seen = Vec::new();
        let journal = Journal::open(folder, 0, |record| seen.push(record.stream.unwrap().1)).unwrap();
        (journal, seen)
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
    }

    #[test]
    fn what_was_committed_comes_back_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, none) = seqs(folder.path());
        assert_eq!(none, Vec::<u64>::new());
        for seq in [1, 2, 3] {
            journal.add(&mut record(seq)).unwrap();
        }
        journal.commit().unwrap();
        journal.add(&mut record(4)).unwrap();
        drop(journal);
        let (mut journal, seen) = seqs(folder.path());
        assert_eq!(seen, [1, 2, 3], "the fourth was never committed");
        journal.add(&mut record(5)).unwrap();
        journal.commit().unwrap();
        assert_eq!(seqs(folder.path()).1, [1, 2, 3, 5]);
    }

    #[test]
    fn a_torn_end_costs_only_what_was_torn() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = seqs(folder.path());
        for seq in [1, 2] {
            journal.add(&mut record(seq)).unwrap();
        }
        journal.commit().unwrap();
        let path = files(folder.path()).remove(0);
        let whole = std::fs::read(&path).unwrap();
        for cut in (0..whole.len()).rev() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (_, seen) = seqs(folder.path());
            assert!(seen.is_empty() || seen == [1], "{cut}");
        }
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        assert_eq!(
            seqs(folder.path()).1,
            [1],
            "a wrong checksum is as good as an end"
        );
    }

    #[test]
    fn segments_go_when_nothing_in_them_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = seqs(folder.path());
        for seq in 1..=3 {
            let mut record = record(seq);
            journal.add(&mut record).unwrap();
            journal.commit().unwrap();
            journal.rotate();
        }
        assert_eq!(files(folder.path()).len(), 3);
        journal.forget_before(3);
        assert_eq!(seqs(folder.path()).1, [3]);
        journal.forget_before(4);
        assert_eq!(files(folder.path()).len(), 0);
        // Numbers go on where they were, even when no record is left to say so.
        assert_eq!(Journal::open(folder.path(), 3, |_| {}).unwrap().next_lsn, 4);
    }

    #[test]
    fn a_disk_that_refuses_is_an_error_and_nothing_is_half_written() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = seqs(folder.path());
        journal.add(&mut record(1)).unwrap();
        journal.commit().unwrap();
        // Opened for reading, every write fails.
        journal.file = Some(File::open(&files(folder.path())[0]).unwrap());
        journal.add(&mut record(2)).unwrap();
        assert!(journal.commit().is_err());
        journal.add(&mut record(3)).unwrap();
        journal.commit().unwrap();
        assert_eq!(seqs(folder.path()).1, [1, 3]);
    }

    proptest! {
        #[test]
        fn any_segment_is_read_without_panic(record in any_record(), at: prop::sample::Index, byte: u8) {
            let mut body = Vec::new();
            record.write(&mut body);
            let mut bytes = MAGIC.to_vec();
            bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
            bytes.extend_from_slice(&body);
            let place = at.index(bytes.len());
            bytes[place] = byte;
            replay(&bytes, |_| {});
        }
    }
}
