//! One record of the journal: a batch, with numbers for names. Pure.

use super::names::SourceId;
use crate::store::page::PageError;
use crate::store::page::varint::{read_varint, unzigzag, write_varint, zigzag};
use crate::store::telemetry::Event;

/// A batch as it is journalled and applied.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    /// Its place in the journal.
    pub(super) lsn: u64,
    pub(super) source: SourceId,
    /// Where in the sender's stream.
    pub(super) stream: Option<(String, u64)>,
    /// Series, time, value.
    pub(super) samples: Vec<(u64, i64, f64)>,
    pub(super) events: Vec<Event>,
}

impl Record {
    /// Appends the record.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write_varint(out, self.lsn);
        write_varint(out, zigzag(self.source.0));
        match &self.stream {
            None => out.push(0),
            Some((name, seq)) => {
                out.push(1);
                write_bytes(out, name.as_bytes());
                write_varint(out, *seq);
            }
        }
        write_varint(out, self.samples.len() as u64);
        let (mut last_id, mut last_ms) = (0i64, 0i64);
        for (id, at_ms, value) in &self.samples {
            let id = *id as i64;
            write_varint(out, zigzag(id.wrapping_sub(last_id)));
            write_varint(out, zigzag(at_ms.wrapping_sub(last_ms)));
            out.extend_from_slice(&value.to_le_bytes());
            (last_id, last_ms) = (id, *at_ms);
        }
        write_varint(out, self.events.len() as u64);
        for event in &self.events {
            write_varint(out, zigzag(event.at_ms));
            write_varint(out, event.app.is_some().into());
            write_bytes(out, event.app.as_deref().unwrap_or_default().as_bytes());
            write_varint(out, event.pm_id.map_or(0, |id| u64::from(id) + 1));
            write_bytes(out, event.kind.as_bytes());
            write_bytes(out, event.name.as_bytes());
            write_bytes(out, &event.data);
        }
    }

    /// Reads a record that fills `bytes`.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, PageError> {
        let from = &mut &*bytes;
        let lsn = read_varint(from)?;
        let source = SourceId(unzigzag(read_varint(from)?));
        let stream = match take(from, 1)? {
            [0] => None,
            _ => Some((read_text(from)?, read_varint(from)?)),
        };
        let count = read_count(from)?;
        let mut samples = Vec::with_capacity(count);
        let (mut last_id, mut last_ms) = (0i64, 0i64);
        for _ in 0..count {
            last_id = last_id.wrapping_add(unzigzag(read_varint(from)?));
            last_ms = last_ms.wrapping_add(unzigzag(read_varint(from)?));
            let value = take(from, 8)?.try_into().map_err(|_| PageError::Short)?;
            samples.push((last_id as u64, last_ms, f64::from_le_bytes(value)));
        }
        let count = read_count(from)?;
        let mut events = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            let at_ms = unzigzag(read_varint(from)?);
            let has_app = read_varint(from)? == 1;
            let app = read_text(from)?;
            let pm_id = read_varint(from)?;
            events.push(Event {
                at_ms,
                app: has_app.then_some(app),
                pm_id: pm_id
                    .checked_sub(1)
                    .map(|id| u32::try_from(id).map_err(|_| PageError::Damaged))
                    .transpose()?,
                kind: read_text(from)?,
                name: read_text(from)?,
                data: read_bytes(from)?.to_vec(),
            });
        }
        if from.is_empty() {
            Ok(Self {
                lsn,
                source,
                stream,
                samples,
                events,
            })
        } else {
            Err(PageError::Damaged)
        }
    }
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take<'a>(from: &mut &'a [u8], length: usize) -> Result<&'a [u8], PageError> {
    let (taken, rest) = from.split_at_checked(length).ok_or(PageError::Short)?;
    *from = rest;
    Ok(taken)
}

fn read_bytes<'a>(from: &mut &'a [u8]) -> Result<&'a [u8], PageError> {
    let length = read_count(from)?;
    take(from, length)
}

fn read_text(from: &mut &[u8]) -> Result<String, PageError> {
    String::from_utf8(read_bytes(from)?.to_vec()).map_err(|_| PageError::Damaged)
}

/// A count of things of at least a byte each: not more than there are bytes.
fn read_count(from: &mut &[u8]) -> Result<usize, PageError> {
    let count = read_varint(from)?;
    usize::try_from(count)
        .ok()
        .filter(|count| *count <= from.len())
        .ok_or(PageError::Short)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event() -> impl Strategy<Value = Event> {
        (
            any::<i64>(),
            any::<Option<String>>(),
            any::<Option<u32>>(),
            any::<String>(),
            any::<String>(),
            any::<Vec<u8>>(),
        )
            .prop_map(|(at_ms, app, pm_id, kind, name, data)| Event {
                at_ms,
                app,
                pm_id,
                kind,
                name,
                data,
            })
    }

    pub(in super::super) fn record() -> impl Strategy<Value = Record> {
        let samples = prop::collection::vec((any::<u64>(), any::<i64>(), -1e300..1e300f64), 0..40);
        (
            any::<u64>(),
            any::<i64>(),
            any::<Option<(String, u64)>>(),
            samples,
            prop::collection::vec(event(), 0..4),
        )
            .prop_map(|(lsn, source, stream, samples, events)| Record {
                lsn,
                source: SourceId(source),
                stream,
                samples,
                events,
            })
    }

    /// Whatever is read can be written, and is then the same for ever.
    fn reads_as_it_writes(bytes: &[u8]) {
        if let Some(once) = super::super::read_journal_record(bytes) {
            assert_eq!(super::super::read_journal_record(&once), Some(once));
        }
    }

    #[test]
    fn counts_beyond_the_bytes_take_no_memory() {
        // lsn, source, no stream, and 2^63 samples or, after none of these, as many events.
        let many = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1];
        for head in [&[1, 2, 0][..], &[1, 2, 0, 0]] {
            assert_eq!(Record::read(&[head, &many].concat()), Err(PageError::Short));
        }
    }

    proptest! {
        #[test]
        fn records_come_back(record in record()) {
            let mut bytes = Vec::new();
            record.write(&mut bytes);
            prop_assert_eq!(Record::read(&bytes), Ok(record));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            reads_as_it_writes(&bytes);
        }

        // Random bytes hardly ever get past the first count; damaged records do.
        #[test]
        fn damaged_records_are_errors_or_other_records(
            record in record(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index
        ) {
            let mut bytes = Vec::new();
            record.write(&mut bytes);
            let place = at.index(bytes.len());
            bytes[place] = byte;
            reads_as_it_writes(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            reads_as_it_writes(&bytes);
        }
    }
}
