//! The daemon's own log is its standard output: put aside when it has grown, and taken up again at its path.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use logs::{Housekeeper, Rotation};

/// Standard output and standard error, as a log file.
#[derive(Debug)]
pub(crate) struct OwnLog {
    path: PathBuf,
    rules: Option<Rotation>,
    /// It could not be put aside, so it just grows until the rules change.
    given_up: bool,
    housekeeper: Housekeeper,
}

impl OwnLog {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            rules: None,
            given_up: false,
            housekeeper: Housekeeper::new(
                None,
                Box::new(|log, error| put(&format!("tidying after {}: {error}\n", log.display()))),
            ),
        }
    }

    pub(crate) fn set_rules(&mut self, rules: Option<Rotation>) {
        self.rules = rules;
        self.given_up = false;
    }

    /// Write a line. That it can't be written is nothing that could be told anywhere.
    pub(crate) fn say(&mut self, line: &str) {
        put(line);
        self.put_aside_from(None);
    }

    /// Put it aside now, however small it is.
    pub(crate) fn rotate(&mut self) {
        self.put_aside_from(Some(1));
    }

    /// Put it aside if it has at least this size, or that of the rules.
    fn put_aside_from(&mut self, size: Option<u64>) {
        if let Some(rules) = self.rules.clone().filter(|_| !self.given_up)
            && let Err(error) = self.put_aside(&rules, size.or(rules.max_size))
        {
            self.given_up = true;
            put(&format!("putting {} aside: {error}\n", self.path.display()));
        }
    }

    fn put_aside(&self, rules: &Rotation, size: Option<u64>) -> io::Result<()> {
        let now = current()?;
        let meta = now.metadata()?;
        if !meta.is_file() || size.is_none_or(|size| meta.len() < size) {
            return Ok(());
        }
        if let Some(log) = logs::put_aside(&self.path, &now)? {
            self.reopen()?;
            self.housekeeper.tidy(log, rules.clone());
        }
        Ok(())
    }

    /// If the log is no longer the file at its path, go on in that one. A terminal or a pipe in the place of the log is left alone.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        let now = current()?.metadata()?;
        let there = std::fs::metadata(&self.path);
        let same = there.is_ok_and(|there| (there.dev(), there.ino()) == (now.dev(), now.ino()));
        if same || !now.is_file() {
            return Ok(());
        }
        let file = OpenOptions::new().append(true).create(true).open(&self.path)?;
        rustix::stdio::dup2_stdout(&file)?;
        rustix::stdio::dup2_stderr(&file)?;
        Ok(())
    }
}

/// The file that standard output is.
fn current() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

fn put(line: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}
