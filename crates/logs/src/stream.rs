//! One stream: an app's pipe, its files, and how far along it is.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use memchr::memchr;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::clock::wall_ms;
use crate::format::Format;
use crate::pace::Pace;
use crate::passage::{self, Passage};
use crate::rotation::Rotation;
use crate::sink::{Room, Sinks, splice, write_all};

/// A number for a stream, chosen by who attaches it; never used again for another stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// Which of an app's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Side {
    /// `out` or `err`.
    #[must_use]
    pub fn short(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Err => "err",
        }
    }
}

/// A stream to carry from now on.
#[derive(Debug)]
pub struct Attach {
    /// Its number.
    pub id: StreamId,
    /// Which stream of its app it is.
    pub side: Side,
    /// The pipe's end to read from.
    pub pipe: OwnedFd,
    /// Where it is written: the combined file first, if there is one, then its own. None: it is only told to listeners.
    pub files: Vec<PathBuf>,
    /// How it is written and told.
    pub format: Format,
    /// Drop everything: neither written nor told.
    pub disabled: bool,
    /// When its files are put aside; `None`: never.
    pub rotation: Option<Rotation>,
}

/// A piece of a stream, told to a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Whose.
    pub id: StreamId,
    /// Which stream.
    pub side: Side,
    /// When it was read: ms since the epoch.
    pub at_ms: i64,
    /// As it stands in the log; bytes that are not UTF-8 are replaced. At most 64 KiB of the app's text.
    pub text: String,
    /// How many pieces of this stream before this one the listener did not take.
    pub missed: u64,
}

/// What the pump tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody listens, and an app printed.
    Chunk(Chunk),
    /// A log file cannot be written; the stream waits as long as its pipe has room.
    Failing {
        /// Whose.
        id: StreamId,
        /// The file.
        path: PathBuf,
        /// Why, as the system says it.
        reason: String,
    },
    /// It can be written again.
    Recovered {
        /// Whose.
        id: StreamId,
        /// Bytes that had to be dropped meanwhile so that the app was not held up.
        dropped: u64,
    },
    /// A log could not be put aside, or what was put aside could not be compressed or removed. It goes on growing.
    NotRotated {
        /// The file.
        path: PathBuf,
        /// Why, as the system says it.
        reason: String,
    },
    /// All writers closed the pipe, and everything in it was carried.
    Ended {
        /// Whose.
        id: StreamId,
    },
}

/// What the kernel says to a splice into something that cannot take one.
const EINVAL: i32 = rustix::io::Errno::INVAL.raw_os_error();
/// How long to wait before a failing file is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// The same while the app fills its pipe faster than that: a writer in the middle of a long write wakes nobody.
const RETRY_SOON: Duration = Duration::from_millis(5);
/// At most this much is looked at in one step when text passes through here.
const TEXT_STEP: usize = 64 * 1024;
/// At most this much is moved in one step when it does not. Moving locks the pipe: the app writes on between two steps.
const MOVE_STEP: usize = 64 * 1024;
/// Less than this is little.
const FULL_STEP: usize = 32 * 1024;

/// Pipes of the pump's own that all its streams share.
pub(crate) struct Tools {
    pub(crate) scratch_in: OwnedFd,
    pub(crate) scratch_out: OwnedFd,
    pub(crate) null: File,
    pub(crate) passage: Option<Passage>,
    pub(crate) buffer: Vec<u8>,
    pub(crate) formatted: Vec<u8>,
}

impl Tools {
    /// Is something of this stream on its way from its pipe to its file?
    fn holds(&self, id: StreamId) -> bool {
        let passage = self.passage.as_ref();
        passage.is_some_and(|passage| passage.owner() == Some(id))
    }
}

/// What was carried in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) bytes: usize,
    /// It was all that there was, and little.
    pub(crate) short: bool,
}

impl Piece {
    /// What came when so much was asked for.
    fn of(bytes: usize, asked: usize) -> Self {
        Self {
            bytes,
            short: bytes < asked && bytes < FULL_STEP,
        }
    }
}

/// What a step came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something was carried; there may be more.
    Moved(Piece),
    /// Nothing there now.
    Empty,
    /// A file cannot be written; look again at this time.
    Failing(Instant),
    /// The pipe has no writer any more, and nothing in it.
    Ended,
}

/// Now, on both clocks.
#[derive(Clone, Copy)]
pub(crate) struct Now {
    pub(crate) mono: Instant,
    pub(crate) wall_ms: i64,
}

impl Now {
    pub(crate) fn get() -> Self {
        Self {
            mono: Instant::now(),
            wall_ms: wall_ms(),
        }
    }
}

/// A stream being carried.
pub(crate) struct Stream {
    pub(crate) attach: Attach,
    /// How many bytes its pipe can hold.
    pub(crate) capacity: usize,
    pub(crate) pace: Pace,
    /// The kernel calls when something comes.
    pub(crate) called: bool,
    /// Its own file can be spliced into: a device or a pipe in its place cannot.
    spliceable: bool,
    mid_line: bool,
    failing: bool,
    dropped: u64,
    missed: u64,
    /// The start of a character whose rest has not been read yet, for listeners.
    torn: Vec<u8>,
}

impl Stream {
    pub(crate) fn new(attach: Attach) -> Self {
        let capacity = rustix::pipe::fcntl_getpipe_size(&attach.pipe).unwrap_or(TEXT_STEP);
        Self {
            capacity,
            // In JSON each piece is an object of its own: as few of the app's writes as possible are put into one.
            pace: Pace::new(!matches!(attach.format, Format::Json { .. })),
            called: false,
            spliceable: true,
            // Only dates stand at the beginnings of lines.
            mid_line: !attach.format.is_raw() && attach.files.last().is_some_and(|path| ends_mid_line(path)),
            failing: false,
            dropped: 0,
            missed: 0,
            torn: Vec::new(),
            attach,
        }
    }

    /// Carries one piece. `tell` returns whether the event was taken.
    pub(crate) fn step(
        &mut self,
        now: Now,
        listening: bool,
        sinks: &mut Sinks,
        tools: &mut Tools,
        tell: &mut dyn FnMut(Event) -> bool,
    ) -> Step {
        let done = if self.attach.disabled || (self.attach.files.is_empty() && !listening) {
            let gone = self.discard(tools, MOVE_STEP);
            gone.map(|n| Piece::of(n, MOVE_STEP)).map_err(Trouble::Pipe)
        } else {
            let splices = self.splices();
            match self.make_ready(now, sinks) {
                Err(trouble) => Err(trouble),
                Ok(_) if tools.holds(self.attach.id) && !self.attach.files.is_empty() => {
                    self.hand_on(now, sinks, tools)
                }
                Ok(Room::Bytes(room)) if splices && self.attach.files.len() == 1 && !listening => {
                    self.forward(now, room, sinks, tools)
                }
                Ok(room) => match look(&self.attach.pipe, tools) {
                    Ok(0) => self.ended().map(|n| Piece::of(n, 0)).map_err(Trouble::Pipe),
                    Ok(there) => {
                        let n = fitting(room, &tools.buffer[..there]);
                        let carried = if splices {
                            self.copy(now, n, listening, sinks, tools, tell)
                        } else {
                            self.write(now, n, listening, sinks, tools, tell)
                        };
                        let asked = if n < there { n } else { TEXT_STEP };
                        carried.map(|n| Piece::of(n, asked))
                    }
                    Err(error) => Err(Trouble::Pipe(error)),
                },
            }
        };
        match done {
            Ok(Piece { bytes: 0, .. }) => Step::Ended,
            Ok(piece) => {
                if std::mem::take(&mut self.failing) {
                    let dropped = std::mem::take(&mut self.dropped);
                    tell(Event::Recovered {
                        id: self.attach.id,
                        dropped,
                    });
                }
                Step::Moved(piece)
            }
            Err(Trouble::Pipe(error)) if error.kind() == io::ErrorKind::WouldBlock => Step::Empty,
            // The pipe itself is broken: nothing more can come of it.
            Err(Trouble::Pipe(_)) => Step::Ended,
            Err(Trouble::File(_, error)) if self.spliceable && error.raw_os_error() == Some(EINVAL) => {
                self.spliceable = false;
                Step::Moved(Piece::of(0, 0))
            }
            // Nothing waits to be written: then there is nothing to tell.
            Err(Trouble::File(..)) if self.is_empty() && !tools.holds(self.attach.id) => match self.ended() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::Empty,
                _ => Step::Ended,
            },
            Err(Trouble::File(path, error)) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tell(Event::Failing {
                        id: self.attach.id,
                        path,
                        reason: error.to_string(),
                    });
                }
                let pause = if self.make_room(tools) { RETRY_SOON } else { RETRY };
                Step::Failing(now.mono + pause)
            }
        }
    }

    /// Can the text be moved inside the kernel?
    fn splices(&self) -> bool {
        self.spliceable && self.attach.format.is_raw()
    }

    /// Makes all files ready; the least room of them counts.
    fn make_ready(&self, now: Now, sinks: &mut Sinks) -> Result<Room, Trouble> {
        let mut least = Room::Bytes(u64::MAX);
        for path in &self.attach.files {
            let room = sinks
                .make_ready(path, now)
                .map_err(|error| Trouble::file(path, error))?;
            least = match (least, room) {
                (Room::Bytes(a), Room::Bytes(b)) => Room::Bytes(a.min(b)),
                _ => Room::RestOfLine,
            };
        }
        Ok(least)
    }

    /// Moves up to `room` bytes from the pipe into the one file, inside the kernel.
    fn forward(
        &mut self,
        now: Now,
        room: u64,
        sinks: &mut Sinks,
        tools: &mut Tools,
    ) -> Result<Piece, Trouble> {
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if self.pace.is_busy()
            && let Some(passage) = &mut tools.passage
            && passage.owner().is_none()
        {
            let asked = room.min(passage::SIZE);
            let taken = passage.take(self.attach.id, self.attach.pipe.as_fd(), asked);
            let piece = Piece::of(taken.map_err(Trouble::Pipe)?, asked);
            if piece.bytes > 0 {
                self.hand_on(now, sinks, tools)?;
            }
            return Ok(piece);
        }
        let path = &self.attach.files[0];
        let file = sinks.placed(path).map_err(|e| Trouble::file(path, e))?;
        let asked = room.min(MOVE_STEP);
        let moved = splice(self.attach.pipe.as_fd(), &*file, asked).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Trouble::Pipe(error),
            _ => Trouble::file(path, error),
        })?;
        if moved > 0 {
            sinks.wrote(path, now);
        }
        Ok(Piece::of(moved, asked))
    }

    /// Writes what this stream has in the passage into its own file. That came before all that is in its pipe.
    fn hand_on(&mut self, now: Now, sinks: &mut Sinks, tools: &mut Tools) -> Result<Piece, Trouble> {
        let (Some(path), Some(mut passage)) = (self.attach.files.last(), tools.passage.take()) else {
            return Err(Trouble::Pipe(io::ErrorKind::NotFound.into()));
        };
        let given = sinks.placed(path).and_then(|file| {
            if self.spliceable {
                return passage.give(file);
            }
            // Another kind of file has come in the place of the one that it was meant for.
            let mut given = 0;
            while let n @ 1.. = look(passage.end(), tools)? {
                write_all(file, &tools.buffer[..n]).1?;
                take(passage.end(), tools, n)?;
                given += n;
            }
            passage.given();
            Ok(given)
        });
        tools.passage = Some(passage);
        let given = given.map_err(|error| Trouble::file(path, error))?;
        sinks.wrote(path, now);
        Ok(Piece::of(given, 0))
    }

    /// Raw text that more than one asks for: own file by splice, everything else from the buffer.
    fn copy(
        &mut self,
        now: Now,
        n: usize,
        listening: bool,
        sinks: &mut Sinks,
        tools: &mut Tools,
        tell: &mut dyn FnMut(Event) -> bool,
    ) -> Result<usize, Trouble> {
        let Some((own, others)) = self.attach.files.split_last() else {
            take(&self.attach.pipe, tools, n).map_err(Trouble::Pipe)?;
            self.tell(now, n, &tools.buffer, tell);
            return Ok(n);
        };
        let undo = append_each(others, &tools.buffer[..n], now, sinks)?;
        let moved = (|| {
            let file = sinks.at_end(own, now.mono)?;
            splice(self.attach.pipe.as_fd(), &*file, n)
        })()
        .map_err(|error| {
            undo.take_back(0, now, sinks);
            Trouble::file(own, error)
        })?;
        if moved < n {
            undo.take_back(moved as u64, now, sinks);
        }
        sinks.wrote(own, now);
        if listening {
            self.tell(now, moved, &tools.buffer, tell);
        }
        Ok(moved)
    }

    /// Formatted text: written to each file, then taken from the pipe.
    fn write(
        &mut self,
        now: Now,
        n: usize,
        listening: bool,
        sinks: &mut Sinks,
        tools: &mut Tools,
        tell: &mut dyn FnMut(Event) -> bool,
    ) -> Result<usize, Trouble> {
        let mut formatted = std::mem::take(&mut tools.formatted);
        formatted.clear();
        let mut mid_line = self.mid_line;
        let Attach { format, side, .. } = &self.attach;
        format.apply(
            *side,
            now.wall_ms,
            &tools.buffer[..n],
            &mut mid_line,
            &mut formatted,
        );
        let outcome = append_each(&self.attach.files, &formatted, now, sinks)
            .and_then(|_| take(&self.attach.pipe, tools, n).map_err(Trouble::Pipe));
        if outcome.is_ok() {
            self.mid_line = mid_line;
            if listening {
                self.tell(now, formatted.len(), &formatted, tell);
            }
        }
        tools.formatted = formatted;
        outcome.map(|()| n)
    }

    /// Tells a listener the first `n` bytes of `text`; a character that is torn at the end is kept for the next time.
    fn tell(&mut self, now: Now, n: usize, text: &[u8], tell: &mut dyn FnMut(Event) -> bool) {
        let mut bytes = std::mem::take(&mut self.torn);
        bytes.extend_from_slice(&text[..n]);
        let whole = bytes.len() - torn_tail(&bytes);
        self.torn = bytes.split_off(whole);
        if bytes.is_empty() {
            return;
        }
        let taken = tell(Event::Chunk(Chunk {
            id: self.attach.id,
            side: self.attach.side,
            at_ms: now.wall_ms,
            text: String::from_utf8(bytes)
                .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()),
            missed: self.missed,
        }));
        self.missed = if taken { 0 } else { self.missed + 1 };
    }

    /// A file cannot be written: drops the older half of the pipe once the app would be held up. Returns whether it did.
    fn make_room(&mut self, tools: &mut Tools) -> bool {
        let waiting = rustix::io::ioctl_fionread(&self.attach.pipe).unwrap_or(0);
        let waiting = usize::try_from(waiting).unwrap_or(usize::MAX);
        // A pipe holds fewer bytes than its size when they were written in small pieces.
        let full = waiting * 2 >= self.capacity;
        if full && take(&self.attach.pipe, tools, waiting / 2).is_ok() {
            self.dropped += (waiting / 2) as u64;
        }
        full
    }

    fn is_empty(&self) -> bool {
        rustix::io::ioctl_fionread(&self.attach.pipe).is_ok_and(|waiting| waiting == 0)
    }

    /// Takes up to `len` bytes from the pipe for nobody. `Ok(0)`: it has ended.
    fn discard(&self, tools: &Tools, len: usize) -> io::Result<usize> {
        splice(self.attach.pipe.as_fd(), &tools.null, len)
    }

    /// The pipe seemed empty: `Ok(0)` if nobody can write to it any more, `WouldBlock` otherwise. Asked in this order, so that what
    /// came in between is not overlooked.
    fn ended(&self) -> io::Result<usize> {
        let mut asked = [PollFd::new(&self.attach.pipe, PollFlags::IN)];
        rustix::event::poll(&mut asked, Some(&Timespec::default()))?;
        let hung_up = asked[0].revents().contains(PollFlags::HUP);
        if hung_up && rustix::io::ioctl_fionread(&self.attach.pipe)? == 0 {
            return Ok(0);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Does a log end in the middle of a line? Then a former daemon wrote its start, and its rest gets no second date.
fn ends_mid_line(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let Ok(meta) = file.metadata() else { return false };
    let mut last = [b'\n'];
    meta.is_file()
        && meta.len() > 0
        && file.read_exact_at(&mut last, meta.len() - 1).is_ok()
        && last[0] != b'\n'
}

/// Copies what is next in the pipe into the buffer, and leaves it in the pipe. 0: there is nothing now.
fn look(pipe: &OwnedFd, tools: &mut Tools) -> io::Result<usize> {
    let flags = rustix::pipe::SpliceFlags::NONBLOCK;
    let n = match rustix::pipe::tee(pipe, &tools.scratch_in, TEXT_STEP, flags) {
        Ok(n) => n,
        Err(rustix::io::Errno::AGAIN) => 0,
        Err(error) => return Err(error.into()),
    };
    tools.buffer.resize(n, 0);
    let mut got = 0;
    while got < n {
        match rustix::io::read(&tools.scratch_out, &mut tools.buffer[got..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(more) => got += more,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(n)
}

/// Takes exactly `n` bytes, which are known to be there, from the pipe.
fn take(pipe: &OwnedFd, tools: &Tools, n: usize) -> io::Result<()> {
    let mut left = n;
    while left > 0 {
        match splice(pipe.as_fd(), &tools.null, left)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            taken => left -= taken,
        }
    }
    Ok(())
}

/// Where each file ended before something was appended, so that it can be taken back.
struct Undo<'a>(Vec<(&'a Path, u64)>);

impl Undo<'_> {
    /// Cuts each file back to its former end and `keep` bytes more.
    fn take_back(&self, keep: u64, now: Now, sinks: &mut Sinks) {
        for (path, end) in &self.0 {
            if let Ok(file) = sinks.at_end(path, now.mono)
                // Another file may be there by now: it must not grow by this.
                && rustix::fs::tell(&*file).is_ok_and(|now| now >= end + keep)
            {
                // What cannot be cut stays: a repeated block is better than a lost one.
                let _ = rustix::fs::ftruncate(&*file, end + keep);
            }
        }
    }
}

/// Appends `text` to each file; when one fails, takes it back from all.
fn append_each<'a>(
    paths: &'a [PathBuf],
    text: &[u8],
    now: Now,
    sinks: &mut Sinks,
) -> Result<Undo<'a>, Trouble> {
    let mut undo = Undo(Vec::new());
    for path in paths {
        let appended = sinks.at_end(path, now.mono).and_then(|file| {
            // A device has no position, and nothing can be taken back from it.
            if let Ok(end) = rustix::fs::tell(&*file) {
                undo.0.push((path, end));
            }
            write_all(file, text).1
        });
        if let Err(error) = appended {
            undo.take_back(0, now, sinks);
            return Err(Trouble::file(path, error));
        }
        sinks.wrote(path, now);
    }
    Ok(undo)
}

/// How much of `text` is written in one step. Dates make it longer; that little too much does no harm.
fn fitting(room: Room, text: &[u8]) -> usize {
    match room {
        Room::Bytes(room) => usize::try_from(room).unwrap_or(usize::MAX).min(text.len()),
        Room::RestOfLine => memchr(b'\n', text).map_or(text.len(), |end| end + 1),
    }
}

/// How many bytes at the end of `bytes` are the start of a character that may still be completed.
fn torn_tail(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        let length = match byte {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            0x80..=0xBF => continue,
            _ => return 0,
        };
        return if back < length { back } else { 0 };
    }
    0
}

enum Trouble {
    Pipe(io::Error),
    File(PathBuf, io::Error),
}

impl Trouble {
    fn file(path: &Path, error: io::Error) -> Self {
        Self::File(path.to_owned(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::torn_tail;

    #[test]
    fn characters_torn_at_the_end_are_found() {
        for (text, torn) in [("a", 0), ("ü", 0), ("aü", 0), ("€", 0), ("😀", 0)] {
            assert_eq!(torn_tail(text.as_bytes()), torn, "{text}");
        }
        let smile = "😀".as_bytes();
        assert_eq!(torn_tail(&smile[..3]), 3);
        assert_eq!(torn_tail(&smile[..1]), 1);
        assert_eq!(torn_tail(&"ü".as_bytes()[..1]), 1);
        assert_eq!(torn_tail(&[0x80, 0x80, 0x80, 0x80]), 0);
        assert_eq!(torn_tail(&[b'a', 0xff]), 0);
    }
}
