//! The pump with real pipes and files.

use std::fs::{File, OpenOptions};
use std::io::{PipeWriter, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use os::memfd::SharedWords;

use logs::{Attach, Event, Format, Passage, Pump, Side, Stamp, StreamId};

struct Fixture {
    pump: Pump,
    events: Receiver<Event>,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self::with(Passage::create().unwrap())
    }

    fn with(passage: Passage) -> Self {
        let (tx, events) = channel();
        Self {
            pump: Pump::start(None, Some(passage), move |event| tx.send(event).is_ok()).unwrap(),
            events,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn attach(&self, id: u64, files: &[PathBuf], format: Format) -> PipeWriter {
        let (reader, writer) = std::io::pipe().unwrap();
        self.pump.attach(Attach {
            id: StreamId(id),
            side: Side::Out,
            pipe: OwnedFd::from(reader),
            files: files.to_vec(),
            format,
            disabled: false,
            rotation: None,
        });
        writer
    }

    /// Waits for an event that `pick` takes; others are passed over.
    fn event<T>(&self, what: &str, pick: impl Fn(Event) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => {
                    if let Some(found) = pick(event) {
                        return found;
                    }
                }
                Err(_) => panic!("no event: {what}"),
            }
        }
    }

    fn ended(&self, id: u64) {
        self.event("ended", |event| {
            (event == Event::Ended { id: StreamId(id) }).then_some(())
        });
    }

    fn text(&self) -> String {
        self.event("chunk", |event| match event {
            Event::Chunk(chunk) => Some(chunk.text),
            _ => None,
        })
    }
}

fn until(what: &str, check: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !check() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn stamp() -> Stamp {
    Arc::new(|_, out| out.push_str("DATE"))
}

#[test]
fn raw_text_reaches_its_file_to_the_byte() {
    let f = Fixture::new();
    let log = f.path("deep/down/app-out.log");
    let mut pipe = f.attach(1, std::slice::from_ref(&log), Format::Raw);
    until("the file is there before anything is printed", || log.exists());
    let block: Vec<u8> = (0..=255).cycle().take(3_000_001).collect();
    pipe.write_all(&block).unwrap();
    pipe.write_all(b"no line end").unwrap();
    drop(pipe);
    f.ended(1);
    let mut expected = block;
    expected.extend_from_slice(b"no line end");
    assert!(std::fs::read(&log).unwrap() == expected);
}

#[test]
fn an_existing_log_is_appended_to_and_a_truncated_one_begins_anew() {
    let f = Fixture::new();
    let log = f.path("app.log");
    std::fs::write(&log, "before\n").unwrap();
    let mut pipe = f.attach(1, std::slice::from_ref(&log), Format::Raw);
    pipe.write_all(b"one\n").unwrap();
    until("appended", || read(&log) == "before\none\n");
    File::create(&log).unwrap();
    pipe.write_all(b"two\n").unwrap();
    until("from the start", || read(&log) == "two\n");
    OpenOptions::new()
        .append(true)
        .open(&log)
        .unwrap()
        .write_all(b"from elsewhere\n")
        .unwrap();
    pipe.write_all(b"three\n").unwrap();
    until("after what others wrote", || {
        read(&log) == "two\nfrom elsewhere\nthree\n"
    });
}

#[test]
fn reopen_follows_the_path_after_a_rename() {
    let f = Fixture::new();
    let log = f.path("app.log");
    let mut pipe = f.attach(1, std::slice::from_ref(&log), Format::Raw);
    pipe.write_all(b"old\n").unwrap();
    until("written", || read(&log) == "old\n");
    std::fs::rename(&log, f.path("moved.log")).unwrap();
    f.pump.reopen();
    until("created at once", || log.exists());
    pipe.write_all(b"new\n").unwrap();
    until("written to the new file", || read(&log) == "new\n");
    assert_eq!(read(&f.path("moved.log")), "old\n");
}

#[test]
fn dates_stand_once_before_each_line_even_of_lines_in_pieces() {
    let f = Fixture::new();
    let log = f.path("app.log");
    let mut pipe = f.attach(1, std::slice::from_ref(&log), Format::Dated(stamp()));
    pipe.write_all(b"one\ntw").unwrap();
    pipe.write_all(b"o\n").unwrap();
    pipe.write_all(b"prompt> ").unwrap();
    until("a line without an end is not kept back", || {
        read(&log).ends_with("prompt> ")
    });
    pipe.write_all(b"answer\n").unwrap();
    drop(pipe);
    f.ended(1);
    assert_eq!(read(&log), "DATE: one\nDATE: two\nDATE: prompt> answer\n");
}

#[test]
fn a_line_longer_than_any_buffer_has_one_date() {
    let f = Fixture::new();
    let log = f.path("app.log");
    let mut pipe = f.attach(1, std::slice::from_ref(&log), Format::Dated(stamp()));
    let line = format!("{}\n", "x".repeat(700_000));
    pipe.write_all(line.as_bytes()).unwrap();
    pipe.write_all(b"next\n").unwrap();
    drop(pipe);
    f.ended(1);
    assert!(read(&log) == format!("DATE: {line}DATE: next\n"));
}

#[test]
fn json_objects_can_be_read_back() {
    let f = Fixture::new();
    let log = f.path("app.log");
    let format = Format::Json {
        stamp: stamp(),
        process_id: 3,
        app_name: "api".into(),
    };
    let mut pipe = f.attach(1, std::slice::from_ref(&log), format);
    pipe.write_all("ü \"quoted\"\n".as_bytes()).unwrap();
    drop(pipe);
    f.ended(1);
    let value: serde_json::Value = serde_json::from_str(read(&log).trim_end()).unwrap();
    assert_eq!(value["message"], "ü \"quoted\"\n");
    assert_eq!(value["type"], "out");
    assert_eq!(value["process_id"], 3);
}

#[test]
fn a_combined_file_gets_both_streams() {
    let f = Fixture::new();
    let both = f.path("both.log");
    let mut one = f.attach(1, &[both.clone(), f.path("one.log")], Format::Raw);
    let mut two = f.attach(2, &[both.clone(), f.path("two.log")], Format::Raw);
    for n in 0..200 {
        // One write a line, as apps do: text that is not formatted is carried as it was written.
        one.write_all(format!("one {n}\n").as_bytes()).unwrap();
        two.write_all(format!("two {n}\n").as_bytes()).unwrap();
    }
    drop((one, two));
    f.ended(1);
    until("the other one ended", || {
        read(&f.path("two.log")).lines().count() == 200
    });
    let own: String = (0..200).map(|n| format!("one {n}\n")).collect();
    assert_eq!(read(&f.path("one.log")), own);
    let text = read(&both);
    assert_eq!(text.lines().count(), 400);
    let mine: String = text
        .lines()
        .filter(|l| l.starts_with("one"))
        .map(|l| format!("{l}\n"))
        .collect();
    assert_eq!(mine, own);
}

#[test]
fn a_listener_is_told_what_stands_in_the_file() {
    let f = Fixture::new();
    let log = f.path("app.log");
    let mut pipe = f.attach(1, std::slice::from_ref(&log), Format::Raw);
    pipe.write_all(b"unheard\n").unwrap();
    until("written", || read(&log) == "unheard\n");
    f.pump.listen(true);
    // The command and the text travel apart: what is written after a first chunk was heard is heard for sure.
    let smile = "😀\n".as_bytes();
    let heard = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut pipe = &pipe;
            pipe.write_all(&smile[..2]).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            pipe.write_all(&smile[2..]).unwrap();
        });
        let mut heard = String::new();
        while !heard.contains('\n') {
            heard.push_str(&f.text());
        }
        heard
    });
    assert_eq!(heard, "😀\n");
    f.pump.listen(false);
    pipe.write_all(b"last\n").unwrap();
    drop(pipe);
    f.ended(1);
    assert_eq!(read(&log), "unheard\n😀\nlast\n");
}

#[test]
fn a_listener_that_does_not_take_is_told_how_much_it_missed() {
    let (tx, events) = channel();
    let mut chunks = 0;
    let pump = Pump::start(None, None, move |event| {
        if matches!(event, Event::Chunk(_)) {
            chunks += 1;
            if chunks % 3 != 0 {
                return false;
            }
        }
        tx.send(event).is_ok()
    })
    .unwrap();
    pump.listen(true);
    let (reader, mut writer) = std::io::pipe().unwrap();
    pump.attach(Attach {
        id: StreamId(1),
        side: Side::Err,
        pipe: OwnedFd::from(reader),
        files: vec![],
        format: Format::Raw,
        disabled: false,
        rotation: None,
    });
    let chunk = loop {
        writer.write_all(b"x").unwrap();
        if let Ok(Event::Chunk(chunk)) = events.recv_timeout(Duration::from_millis(20)) {
            break chunk;
        }
    };
    assert_eq!((chunk.missed, chunk.side), (2, Side::Err));
}

#[test]
fn a_full_disk_holds_no_app_up_and_is_told_once() {
    let f = Fixture::new();
    for (id, format) in [(1, Format::Raw), (2, Format::Dated(stamp()))] {
        let mut pipe = f.attach(id, &[PathBuf::from("/dev/full")], format);
        pipe.write_all(b"nowhere to go\n").unwrap();
        let (path, reason) = f.event("failing", |event| match event {
            Event::Failing { path, reason, .. } => Some((path, reason)),
            _ => None,
        });
        assert_eq!(path, Path::new("/dev/full"));
        assert!(reason.contains("No space"), "{reason}");
        // Far more than the pipe holds: the writer would hang here for ever if nothing were dropped.
        pipe.write_all(&vec![b'x'; 400_000]).unwrap();
    }
}

#[test]
fn what_was_held_back_is_written_when_there_is_room_again() {
    let f = Fixture::new();
    let folder = f.path("gone");
    std::fs::write(&folder, "a file where a folder should be").unwrap();
    let log = folder.join("app.log");
    let mut pipe = f.attach(1, std::slice::from_ref(&log), Format::Raw);
    pipe.write_all(b"kept\n").unwrap();
    f.event("failing", |event| {
        matches!(event, Event::Failing { .. }).then_some(())
    });
    std::fs::remove_file(&folder).unwrap();
    let dropped = f.event("recovered", |event| match event {
        Event::Recovered { dropped, .. } => Some(dropped),
        _ => None,
    });
    assert_eq!(dropped, 0);
    until("written", || read(&log) == "kept\n");
}

#[test]
fn a_disabled_stream_is_neither_written_nor_told() {
    let f = Fixture::new();
    f.pump.listen(true);
    let log = f.path("never.log");
    let (reader, mut writer) = std::io::pipe().unwrap();
    f.pump.attach(Attach {
        id: StreamId(1),
        side: Side::Out,
        pipe: OwnedFd::from(reader),
        files: vec![log.clone()],
        format: Format::Raw,
        disabled: true,
        rotation: None,
    });
    writer.write_all(&vec![b'x'; 500_000]).unwrap();
    drop(writer);
    assert_eq!(
        f.events.recv_timeout(Duration::from_secs(20)).unwrap(),
        Event::Ended { id: StreamId(1) }
    );
    assert!(!log.exists());
}

#[test]
fn what_is_in_the_pipe_waits_for_the_next_pump() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("app.log");
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut expected = String::new();
    for round in 0..20 {
        let pump = Pump::start(None, None, |_| true).unwrap();
        pump.attach(Attach {
            id: StreamId(1),
            side: Side::Out,
            pipe: OwnedFd::from(reader.try_clone().unwrap()),
            files: vec![log.clone()],
            format: Format::Raw,
            disabled: false,
            rotation: None,
        });
        let line = format!("round {round}\n");
        writer.write_all(line.as_bytes()).unwrap();
        expected.push_str(&line);
        drop(pump); // in the middle of it, or before it began
    }
    drop(writer);
    let (tx, ended) = channel();
    let pump = Pump::start(None, None, move |event| tx.send(event).is_ok()).unwrap();
    pump.attach(Attach {
        id: StreamId(2),
        side: Side::Out,
        pipe: OwnedFd::from(reader),
        files: vec![log.clone()],
        format: Format::Raw,
        disabled: false,
        rotation: None,
    });
    ended.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(read(&log), expected);
    drop(pump);
}

/// Line after line, each by a write of its own, as fast as it goes; returns what was written.
fn flood(pipe: &mut PipeWriter, lines: usize) -> String {
    let mut all = String::new();
    for n in 0..lines {
        let line = format!("line {n} of a flood that is woken for neither too often nor too late\n");
        pipe.write_all(line.as_bytes()).unwrap();
        all.push_str(&line);
    }
    all
}

#[test]
fn a_flood_of_lines_reaches_its_file_to_the_byte() {
    let constant: Stamp = Arc::new(|_, out| out.push('#'));
    for (id, format) in [(1, Format::Raw), (2, Format::Dated(constant))] {
        let f = Fixture::new();
        let log = f.path("app.log");
        let mut pipe = f.attach(id, std::slice::from_ref(&log), format.clone());
        let mut expected = flood(&mut pipe, 100_000);
        pipe.write_all(b"the end").unwrap();
        expected.push_str("the end");
        drop(pipe);
        f.ended(id);
        let text = read(&log);
        let text: String = match format {
            Format::Raw => text,
            _ => text
                .split_inclusive('\n')
                .map(|line| line.strip_prefix("#: ").unwrap())
                .collect(),
        };
        assert!(text == expected);
    }
}

#[test]
fn a_line_after_a_flood_is_written_at_once_and_the_pipe_of_a_flood_is_large() {
    let f = Fixture::new();
    let log = f.path("app.log");
    let mut pipe = f.attach(1, std::slice::from_ref(&log), Format::Raw);
    let before = rustix::pipe::fcntl_getpipe_size(&pipe).unwrap();
    pipe.write_all(&vec![b'x'; 16 * 1024 * 1024]).unwrap();
    until("its pipe is larger", || {
        (&pipe).write_all(&vec![b'x'; 1024 * 1024]).unwrap();
        rustix::pipe::fcntl_getpipe_size(&pipe).unwrap() > before
    });
    for n in 0..5 {
        let line = format!("\nquiet {n}\n");
        pipe.write_all(line.as_bytes()).unwrap();
        until("the line is there", || {
            std::fs::read(&log).unwrap().ends_with(line.as_bytes())
        });
    }
}

#[test]
fn one_pump_after_the_other_carries_a_flood_without_loss_or_repetition() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("app.log");
    let (reader, mut writer) = std::io::pipe().unwrap();
    let (tx, ended) = channel();
    let passage = Passage::create().unwrap();
    let start = || {
        let tx = tx.clone();
        let passage = Passage::restore(passage.copies().unwrap()).unwrap();
        let pump = Pump::start(None, Some(passage), move |event| tx.send(event).is_ok()).unwrap();
        pump.attach(Attach {
            id: StreamId(1),
            side: Side::Out,
            pipe: OwnedFd::from(reader.try_clone().unwrap()),
            files: vec![log.clone()],
            format: Format::Raw,
            disabled: false,
            rotation: None,
        });
        pump
    };
    let expected = std::thread::scope(|scope| {
        let writing = scope.spawn(move || flood(&mut writer, 200_000));
        let size = std::cell::Cell::new(0);
        while !writing.is_finished() {
            let pump = start();
            // It has carried something: then it goes, in the middle of whatever it does.
            until("more is written", || {
                let now = std::fs::metadata(&log).map_or(0, |meta| meta.len());
                writing.is_finished() || size.replace(now) != now
            });
            drop(pump);
        }
        writing.join().unwrap()
    });
    let pump = start();
    ended.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(read(&log) == expected);
    drop(pump);
}

/// A passage as a pump leaves it that is killed with this in hand.
fn in_hand(id: u64, text: &[u8]) -> Passage {
    let copies = Passage::create().unwrap().copies().unwrap();
    rustix::io::write(&copies[1], text).unwrap();
    SharedWords::map(copies[2].try_clone().unwrap())
        .unwrap()
        .set(0, id);
    Passage::restore(copies).unwrap()
}

#[test]
fn what_a_pump_had_in_hand_is_written_first_by_the_next_one() {
    let f = Fixture::with(in_hand(1, b"in hand\n"));
    let (mine, other) = (f.path("mine.log"), f.path("other.log"));
    // Another one floods meanwhile: it finds its way without the passage.
    let mut pipe = f.attach(2, std::slice::from_ref(&other), Format::Raw);
    let expected = flood(&mut pipe, 10_000);
    drop(pipe);
    f.ended(2);
    assert!(read(&other) == expected);

    let mut pipe = f.attach(1, std::slice::from_ref(&mine), Format::Raw);
    let mut expected = String::from("in hand\n");
    expected.push_str(&flood(&mut pipe, 10_000));
    drop(pipe);
    f.ended(1);
    assert!(read(&mine) == expected);
}

#[test]
fn what_was_in_hand_waits_for_a_file_that_cannot_be_written() {
    let f = Fixture::with(in_hand(1, b"in hand\n"));
    let folder = f.path("gone");
    std::fs::write(&folder, "a file where a folder should be").unwrap();
    let log = folder.join("app.log");
    // Nobody writes any more: it has not ended as long as something of it is on the way.
    drop(f.attach(1, std::slice::from_ref(&log), Format::Raw));
    f.event("failing", |event| {
        matches!(event, Event::Failing { .. }).then_some(())
    });
    std::fs::remove_file(&folder).unwrap();
    f.event("recovered", |event| {
        matches!(event, Event::Recovered { dropped: 0, .. }).then_some(())
    });
    f.ended(1);
    assert_eq!(read(&log), "in hand\n");
}

#[test]
fn what_was_in_hand_is_copied_where_it_cannot_be_moved() {
    let f = Fixture::with(in_hand(1, b"in hand\n"));
    let log = f.path("app.log");
    // A device into which nothing can be spliced; after that, everything is copied.
    std::os::unix::fs::symlink("/dev/full", &log).unwrap();
    let mut pipe = f.attach(1, std::slice::from_ref(&log), Format::Raw);
    f.event("failing", |event| {
        matches!(event, Event::Failing { .. }).then_some(())
    });
    std::fs::remove_file(&log).unwrap();
    f.pump.reopen();
    pipe.write_all(b"after\n").unwrap();
    drop(pipe);
    f.ended(1);
    assert_eq!(read(&log), "in hand\nafter\n");
}

#[test]
fn what_is_in_hand_of_nobody_stands_in_nobodys_way() {
    let passage = in_hand(7, b"whose?\n");
    let copies = passage.copies().unwrap();
    let f = Fixture::with(passage);
    let log = f.path("app.log");
    let pipe = f.attach(1, std::slice::from_ref(&log), Format::Raw);
    f.pump.all_attached();
    until("it is gone", || {
        rustix::io::ioctl_fionread(&copies[0]).unwrap() == 0
    });
    drop(pipe);
    f.ended(1);
    assert_eq!(read(&log), "");
}

#[test]
fn descriptors_that_are_no_passage_are_refused() {
    let [read, write, words] =
        <[OwnedFd; 3]>::try_from(Passage::create().unwrap().copies().unwrap()).unwrap();
    assert!(Passage::restore(vec![]).is_err());
    let file = OwnedFd::from(tempfile::tempfile().unwrap());
    assert!(Passage::restore(vec![read.try_clone().unwrap(), file.try_clone().unwrap(), words]).is_err());
    assert!(Passage::restore(vec![read, write, file]).is_err());
}

#[test]
fn a_log_that_was_removed_with_its_folder_comes_back() {
    let f = Fixture::new();
    let log = f.path("deep/app.log");
    let mut pipe = f.attach(1, std::slice::from_ref(&log), Format::Raw);
    pipe.write_all(b"before\n").unwrap();
    until("written", || read(&log) == "before\n");
    std::fs::remove_dir_all(log.parent().unwrap()).unwrap();
    // It is looked for once a second in which something is written.
    until("it is there again", || {
        (&pipe).write_all(b"after\n").unwrap();
        log.exists()
    });
    until("written again", || read(&log).ends_with("after\n"));
}

#[test]
fn a_log_that_may_not_be_opened_is_told_and_written_when_it_may() {
    let f = Fixture::new();
    let folder = f.path("taken");
    // A file in the place of the folder: nobody may open what is in it, root neither.
    std::fs::write(&folder, "").unwrap();
    let log = folder.join("app.log");
    let mut pipe = f.attach(1, std::slice::from_ref(&log), Format::Raw);
    pipe.write_all(b"kept\n").unwrap();
    let path = f.event("failing", |event| match event {
        Event::Failing { path, .. } => Some(path),
        _ => None,
    });
    assert_eq!(path, log);
    std::fs::remove_file(&folder).unwrap();
    let dropped = f.event("recovered", |event| match event {
        Event::Recovered { dropped, .. } => Some(dropped),
        _ => None,
    });
    assert_eq!(dropped, 0);
    until("written", || read(&log) == "kept\n");
}
