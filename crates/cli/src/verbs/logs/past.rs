//! What stands in the files: their ends, as PM2 shows them, or all lines that are looked for.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use logs::Times;
use logs::history::{self, Line, Log, Span};
use pm2::dates::TimeZone;

use super::live::{Said, show_line};
use super::wish::{Form, Stream, Wish};
use crate::console::Console;
use crate::context::Context;
use crate::process::Process;

/// One file to be shown.
struct File {
    path: PathBuf,
    id: u32,
    name: String,
    stream: Stream,
}

impl File {
    fn label(&self) -> String {
        match self.stream {
            Stream::Daemon => "PM2".into(),
            Stream::Out | Stream::Err => format!("{}|{}", self.id, self.name),
        }
    }
}

/// The files of those who are wanted, each once, as they were changed last; the daemon's comes first.
fn files(context: &Context<'_>, wish: &Wish, list: &[Process]) -> Vec<File> {
    let mut files: Vec<File> = Vec::new();
    for p in list.iter().filter(|p| wish.wants_process(p)) {
        let (out, err) = (p.env.out_log(), p.env.err_log());
        // The combined file has all of it once more.
        let only_combined = wish.out && wish.err && (out.is_none() || err.is_none());
        let paths = [
            (p.env.combined_log().filter(|_| only_combined), Stream::Out),
            (out.filter(|_| wish.out), Stream::Out),
            (err.filter(|_| wish.err), Stream::Err),
        ];
        for (path, stream) in paths {
            files.extend(path.map(|path| File {
                path: path.into(),
                id: p.pm_id,
                name: p.name.clone(),
                stream,
            }));
        }
    }
    let changed = |path: &Path| {
        path.metadata()
            .and_then(|meta| meta.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    };
    files.sort_by_cached_key(|file| changed(&file.path));
    if wish.wants_daemon() {
        let daemon = File {
            path: context.home.log_file.clone(),
            id: 0,
            name: "PM2".into(),
            stream: Stream::Daemon,
        };
        files.insert(0, daemon);
    }
    let mut seen = HashSet::new();
    files.retain(|file| seen.insert(file.path.clone()));
    files
}

/// The last lines of each file, as PM2 shows them.
pub(super) fn tail(context: &Context<'_>, wish: &Wish, target: &str, list: &[Process]) {
    let console = context.console;
    let plural = if target == "all" { "processes" } else { "process" };
    let brush = console.brush;
    console.say(brush.bold(brush.grey(format!(
        "[TAILING] Tailing last {} lines for [{target}] {plural} (change the value with --lines option)",
        wish.lines
    ))));
    let times = Times::new(context.home.log_times.clone());
    for file in files(context, wish, list) {
        show_end(console, wish, &times, &file);
    }
}

fn show_end(console: &Console, wish: &Wish, times: &Times, file: &File) {
    let log = Log {
        path: &file.path,
        times,
    };
    let lines = match history::last(log, Span::default(), wish.lines, &mut |_| true) {
        Ok(lines) => lines,
        Err(error) => return complain(console, file, &error),
    };
    // It comes with the first line.
    if lines.is_empty() && !file.path.exists() {
        return;
    }
    console.say(
        console
            .brush
            .grey(format!("{} last {} lines:", file.path.display(), wish.lines)),
    );
    let style = wish.style(console, true);
    let any = !lines.is_empty();
    for line in lines {
        let text = String::from_utf8_lossy(&line.text);
        put(
            console,
            file.stream == Stream::Err && wish.raw,
            &style.line(&file.stream.line(&file.label(), &text)),
        );
    }
    if any {
        console.say("");
    }
    console.flush();
}

fn complain(console: &Console, file: &File, error: &io::Error) {
    console.warn(format_args!("reading {}: {error}", file.path.display()));
}

pub(super) fn put(console: &Console, error: bool, line: &str) {
    if error {
        console.put_err(format_args!("{line}\n"));
    } else {
        console.put(format_args!("{line}\n"));
    }
}

/// All lines that are looked for, of all files together, in the order in which they were written.
pub(super) fn search(context: &Context<'_>, wish: &Wish, list: &[Process]) {
    let console = context.console;
    // As in the stream, the daemon's own words have no structured form.
    let mut files = files(context, wish, list);
    files.retain(|file| wish.form == Form::Lines || file.stream != Stream::Daemon);
    let times = Times::new(context.home.log_times.clone());
    let mut sources: Vec<Source<'_>> = files
        .iter()
        .map(|file| Source::new(console, wish, &times, file))
        .collect();
    let mut longest = files
        .iter()
        .map(|file| file.label().chars().count())
        .max()
        .unwrap_or(0);
    let zone = TimeZone::system();
    // Lines without a time stay behind the line before them.
    let mut heads = BinaryHeap::new();
    let mut next: Vec<Option<Line>> = Vec::new();
    for (number, source) in sources.iter_mut().enumerate() {
        let line = source.next(console, wish);
        heads.extend(
            line.as_ref()
                .map(|line| Reverse((line.at_ms.unwrap_or(i64::MIN), number))),
        );
        next.push(line);
    }
    while let Some(Reverse((at, number))) = heads.pop() {
        let (Some(slot), Some(source), Some(file)) =
            (next.get_mut(number), sources.get_mut(number), files.get(number))
        else {
            continue;
        };
        let Some(line) = slot.take() else { continue };
        let said = Said {
            stream: file.stream,
            id: file.id.into(),
            name: &file.name,
            at_ms: line.at_ms,
            text: &String::from_utf8_lossy(&line.text),
        };
        show_line(console, wish, &zone, &mut longest, &said);
        if console.closed() {
            return;
        }
        *slot = source.next(console, wish);
        heads.extend(
            slot.as_ref()
                .map(|line| Reverse((line.at_ms.unwrap_or(at).max(at), number))),
        );
    }
    console.flush();
}

/// The lines of one file that are looked for.
struct Source<'a> {
    file: &'a File,
    lines: Box<dyn Iterator<Item = io::Result<Line>> + 'a>,
}

impl<'a> Source<'a> {
    fn new(console: &Console, wish: &'a Wish, times: &'a Times, file: &'a File) -> Self {
        let log = Log {
            path: &file.path,
            times,
        };
        let lines: Box<dyn Iterator<Item = io::Result<Line>> + 'a> = match wish.limit() {
            None => Box::new(history::since(log, wish.span)),
            Some(limit) => {
                let mut takes = |text: &[u8]| wish.takes(&String::from_utf8_lossy(text));
                match history::last(log, wish.span, limit, &mut takes) {
                    Ok(lines) => Box::new(lines.into_iter().map(Ok)),
                    Err(error) => {
                        complain(console, file, &error);
                        Box::new(std::iter::empty())
                    }
                }
            }
        };
        Self { file, lines }
    }

    fn next(&mut self, console: &Console, wish: &Wish) -> Option<Line> {
        loop {
            match self.lines.next()? {
                Ok(line) if wish.takes(&String::from_utf8_lossy(&line.text)) => return Some(line),
                Ok(_) => {}
                Err(error) => complain(console, self.file, &error),
            }
        }
    }
}
