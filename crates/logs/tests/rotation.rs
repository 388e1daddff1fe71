//! The pump putting files aside, with real pipes and files.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use logs::{Attach, Event, Format, Pump, Rotation, Side, StreamId, Times, family};

const PLAIN: Rotation = Rotation {
    max_size: Some(4096),
    retain: None,
    max_age: None,
    compress: false,
};

struct Fixture {
    pump: Pump,
    events: Receiver<Event>,
    dir: tempfile::TempDir,
    log: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let (tx, events) = channel();
        let dir = tempfile::tempdir().unwrap();
        let times = Times::new(dir.path().join("times"));
        fs::create_dir(dir.path().join("logs")).unwrap();
        Self {
            pump: Pump::start(Some(times), None, move |event| tx.send(event).is_ok()).unwrap(),
            events,
            log: dir.path().join("logs/app-out.log"),
            dir,
        }
    }

    fn attach(&self, id: u64, files: &[&Path], format: Format, rules: &Rotation) -> PipeWriter {
        let (reader, writer) = std::io::pipe().unwrap();
        self.pump.attach(Attach {
            id: StreamId(id),
            side: Side::Out,
            pipe: OwnedFd::from(reader),
            files: files.iter().map(|path| path.to_path_buf()).collect(),
            format,
            disabled: false,
            rotation: Some(rules.clone()),
        });
        writer
    }

    fn ended(&self, id: u64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) if event == (Event::Ended { id: StreamId(id) }) => return,
                Ok(_) => {}
                Err(_) => panic!("the stream did not end"),
            }
        }
    }

    /// Puts aside now, and waits until the pump was told so: what is written after it came later.
    fn rotate(&self) {
        self.pump.rotate(StreamId(1));
        let told = self.dir.path().join("logs/told.log");
        let _ = fs::remove_file(&told);
        drop(self.attach(u64::MAX - 1, &[&told], Format::Raw, &PLAIN));
        until("the pump is told", || told.exists());
        self.ended(u64::MAX - 1);
    }

    /// Each part of a log, oldest first, the present one last.
    fn parts(&self, log: &Path) -> Vec<String> {
        let mut paths = family(log);
        // Parts of the same ms of modification are told apart by their names.
        paths.sort();
        paths.push(log.to_owned());
        paths.iter().map(|path| read(path)).collect()
    }
}

fn read(path: &Path) -> String {
    let mut text = String::new();
    let Ok(file) = File::open(path) else {
        return text;
    };
    if path.extension().is_some_and(|extension| extension == "gz") {
        MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    } else {
        let mut file = file;
        file.read_to_string(&mut text).unwrap();
    }
    text
}

fn until(what: &str, check: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !check() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn lines(numbers: std::ops::Range<u32>) -> String {
    numbers
        .map(|n| format!("line {n} {}\n", "x".repeat(n as usize % 90)))
        .collect()
}

/// No part is larger than it may be but for one line, each ends with a line, and together they are the text.
fn check(parts: &[String], text: &str) {
    assert!(parts.concat() == text, "the parts are not the text");
    for part in &parts[..parts.len() - 1] {
        assert!(
            part.ends_with('\n'),
            "a torn line: {:?}",
            &part[part.len() - 20..]
        );
        assert!(part.len() >= 4096 && part.len() < 4096 + 200, "{}", part.len());
    }
}

#[test]
fn raw_text_is_put_aside_between_lines_and_nothing_is_lost() {
    let f = Fixture::new();
    let mut pipe = f.attach(1, &[&f.log], Format::Raw, &PLAIN);
    let text = lines(0..3000);
    pipe.write_all(text.as_bytes()).unwrap();
    drop(pipe);
    f.ended(1);
    let parts = f.parts(&f.log);
    assert!(parts.len() > 20);
    check(&parts, &text);
}

#[test]
fn lines_in_small_pieces_stay_whole_too() {
    let f = Fixture::new();
    let mut pipe = f.attach(1, &[&f.log], Format::Raw, &PLAIN);
    let text = lines(0..400);
    for piece in text.as_bytes().chunks(37) {
        pipe.write_all(piece).unwrap();
    }
    drop(pipe);
    f.ended(1);
    check(&f.parts(&f.log), &text);
}

#[test]
fn dated_text_in_two_files_is_put_aside_in_both() {
    let f = Fixture::new();
    let both = f.dir.path().join("logs/both.log");
    let format = Format::Dated(Arc::new(|_, out| out.push('D')));
    let mut pipe = f.attach(1, &[&both, &f.log], format, &PLAIN);
    let text = lines(0..3000);
    pipe.write_all(text.as_bytes()).unwrap();
    drop(pipe);
    f.ended(1);
    let dated: String = text.lines().map(|line| format!("D: {line}\n")).collect();
    for log in [&both, &f.log] {
        let parts = f.parts(log);
        assert!(parts.len() > 1);
        assert!(parts.concat() == dated, "{}", log.display());
        assert!(parts.iter().all(|part| part.is_empty() || part.ends_with('\n')));
    }
}

#[test]
fn many_streams_share_a_file_that_is_put_aside() {
    let f = Fixture::new();
    let writers: Vec<_> = (0..6)
        .map(|id| {
            let mut pipe = f.attach(id, &[&f.log], Format::Raw, &PLAIN);
            std::thread::spawn(move || {
                for n in 0..500 {
                    // One write is one line, so none is torn on its way.
                    pipe.write_all(format!("{id} {n} {}\n", "y".repeat(30)).as_bytes())
                        .unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    until("everything", || f.parts(&f.log).concat().lines().count() == 3000);
    let parts = f.parts(&f.log);
    assert!(parts.len() > 10);
    let text = parts.concat();
    let seen: BTreeSet<&str> = text.lines().collect();
    assert_eq!(seen.len(), 3000, "each line once, and none torn");
    assert!(parts[..parts.len() - 1].iter().all(|part| part.ends_with('\n')));
}

#[test]
fn a_line_that_does_not_end_is_cut_in_the_end() {
    let f = Fixture::new();
    let mut pipe = f.attach(1, &[&f.log], Format::Raw, &PLAIN);
    pipe.write_all(&vec![b'z'; 3_000_000]).unwrap();
    drop(pipe);
    f.ended(1);
    let parts = f.parts(&f.log);
    assert_eq!(parts.concat().len(), 3_000_000);
    assert!(parts.len() > 2);
    let largest = parts.iter().map(String::len).max().unwrap();
    assert!(largest <= 4096 + 1024 * 1024 + 64 * 1024, "{largest}");
}

#[test]
fn older_parts_are_compressed_and_counted() {
    let f = Fixture::new();
    let rules = Rotation {
        retain: Some(3),
        compress: true,
        ..PLAIN
    };
    let mut pipe = f.attach(1, &[&f.log], Format::Raw, &rules);
    let text = lines(0..3000);
    pipe.write_all(text.as_bytes()).unwrap();
    drop(pipe);
    f.ended(1);
    until("three compressed parts and nothing else", || {
        let names: Vec<_> = fs::read_dir(f.log.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        let compressed = names
            .iter()
            .filter(|p| p.extension().is_some_and(|e| e == "gz"))
            .count();
        compressed == 3 && names.len() == 4
    });
    let kept = f.parts(&f.log).concat();
    assert!(kept.len() > 3 * 4096);
    assert!(text.ends_with(&kept), "the newest are kept");
}

#[test]
fn the_new_file_has_the_mode_of_the_old_and_links_stay() {
    let f = Fixture::new();
    let link = f.dir.path().join("link.log");
    fs::write(&f.log, "").unwrap();
    fs::set_permissions(&f.log, fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(&f.log, &link).unwrap();
    let mut pipe = f.attach(1, &[&link], Format::Raw, &PLAIN);
    pipe.write_all(lines(0..200).as_bytes()).unwrap();
    drop(pipe);
    f.ended(1);
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert!(f.parts(&f.log).len() > 1);
    assert_eq!(f.log.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn others_may_rotate_the_same_file() {
    let f = Fixture::new();
    let mut pipe = f.attach(1, &[&f.log], Format::Raw, &PLAIN);
    let text = lines(0..40);
    pipe.write_all(text.as_bytes()).unwrap();
    until("written", || read(&f.log) == text);
    // Moved away: the writer follows when it is told, and puts nothing aside that is not its own.
    let moved = f.dir.path().join("logs/app-out.log.1");
    fs::rename(&f.log, &moved).unwrap();
    f.pump.reopen();
    until("made anew", || f.log.exists());
    let more = lines(100..300);
    pipe.write_all(more.as_bytes()).unwrap();
    until("more", || {
        let parts = f.parts(&f.log);
        parts.concat() == format!("{text}{more}")
    });
    assert_eq!(read(&moved), text);
    // Moved away without a word: what is due then goes on into the moved file until then, and into a new one after.
    fs::rename(&f.log, f.dir.path().join("logs/app-out.log.2")).unwrap();
    pipe.write_all(lines(300..500).as_bytes()).unwrap();
    until("a new file", || f.log.exists());
    // Emptied in place.
    File::create(&f.log).unwrap();
    pipe.write_all(b"after\n").unwrap();
    until("after", || read(&f.log).ends_with("after\n"));
}

#[test]
fn rotate_puts_aside_what_there_is_and_waits_for_the_end_of_a_line() {
    let f = Fixture::new();
    let rules = Rotation {
        max_size: None,
        ..PLAIN
    };
    let mut pipe = f.attach(1, &[&f.log], Format::Raw, &rules);
    f.rotate();
    pipe.write_all(b"one\nhalf").unwrap();
    until("written", || read(&f.log) == "one\nhalf");
    f.rotate();
    pipe.write_all(b" and half\ntwo\n").unwrap();
    until("put aside", || {
        f.parts(&f.log) == ["one\nhalf and half\n", "two\n"]
    });
    f.rotate();
    until("again", || f.parts(&f.log).len() == 3);
    f.rotate();
    f.pump.set_rotation(StreamId(1), None);
    pipe.write_all(b"three\n").unwrap();
    until("an empty file is not put aside", || read(&f.log) == "three\n");
    f.rotate();
    pipe.write_all(b"four\n").unwrap();
    until("one that is never put aside stays", || {
        read(&f.log) == "three\nfour\n"
    });
    assert_eq!(f.parts(&f.log).len(), 3);
}

#[test]
fn a_folder_that_cannot_be_written_is_told_and_the_log_grows() {
    // Root may write everywhere: a name that is too long for the date behind it is the failure here.
    let f = Fixture::new();
    let log = f.log.with_file_name(format!("{}.log", "n".repeat(250)));
    let mut pipe = f.attach(1, &[&log], Format::Raw, &PLAIN);
    let text = lines(0..300);
    pipe.write_all(text.as_bytes()).unwrap();
    drop(pipe);
    let mut told = 0;
    loop {
        match f.events.recv_timeout(Duration::from_secs(20)).unwrap() {
            Event::NotRotated { path, .. } => {
                assert_eq!(path, log);
                told += 1;
            }
            Event::Ended { .. } => break,
            _ => {}
        }
    }
    assert_eq!(told, 1);
    assert!(read(&log) == text);
}

#[test]
fn notes_of_time_go_with_the_parts() {
    let f = Fixture::new();
    let times = Times::new(f.dir.path().join("times"));
    let mut pipe = f.attach(1, &[&f.log], Format::Raw, &PLAIN);
    pipe.write_all(lines(0..100).as_bytes()).unwrap();
    drop(pipe);
    f.ended(1);
    let real = fs::canonicalize(&f.log).unwrap();
    let parts = family(&real);
    assert!(!parts.is_empty());
    for part in parts.iter().chain([&real]) {
        let notes = times.of(part);
        assert_eq!(
            notes.first().map(|note| note.offset),
            Some(0),
            "{}",
            part.display()
        );
    }
}
