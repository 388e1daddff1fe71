//! `agent.log`: each step of the link with its time, host and cause; capped, with one older file kept.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Name of the file in `$PM2_HOME`.
pub(crate) const FILE: &str = "agent.log";
/// A file of this size becomes the older one.
const MAX_BYTES: u64 = 1 << 20;
/// One line never takes more.
const MAX_LINE: usize = 2048;

/// Writes sentences; what it is given must not hold a secret, and the two it knows are hidden all the same.
pub(crate) struct Journal {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    max: u64,
    secrets: Vec<String>,
}

impl Journal {
    pub(crate) fn open(home: &Path, secrets: Vec<String>) -> Self {
        Self::with_max(home, secrets, MAX_BYTES)
    }

    fn with_max(home: &Path, secrets: Vec<String>, max: u64) -> Self {
        let secrets = secrets.into_iter().filter(|s| s.len() >= 4).collect();
        let mut journal = Self {
            path: home.join(FILE),
            file: None,
            size: 0,
            max,
            secrets,
        };
        journal.reopen();
        journal
    }

    /// A log that cannot be written is no reason to stop: it is tried again at the next line.
    fn reopen(&mut self) {
        self.file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)
            .ok();
        self.size = self
            .file
            .as_ref()
            .and_then(|f| f.metadata().ok())
            .map_or(0, |m| m.len());
    }

    /// Writes one line.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) {
        let mut text = crate::redact::clip(text.as_ref(), MAX_LINE).replace(|c: char| c.is_control(), " ");
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "********");
        }
        let line = format!(
            "{} {text}\n",
            jiff::Timestamp::now()
                .round(jiff::Unit::Millisecond)
                .unwrap_or_default()
        );
        if self.size + line.len() as u64 > self.max {
            let mut older = self.path.as_os_str().to_owned();
            older.push(".1");
            let _ = std::fs::rename(&self.path, older);
            self.file = None;
        }
        if self.file.is_none() {
            self.reopen();
        }
        if let Some(file) = &mut self.file {
            match file.write_all(line.as_bytes()) {
                Ok(()) => self.size += line.len() as u64,
                Err(_) => self.file = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_capped_with_one_older_file() {
        let home = tempfile::tempdir().unwrap();
        let mut journal = Journal::with_max(home.path(), vec![], 500);
        for n in 0..100 {
            journal.line(format!("line {n}"));
        }
        let now = std::fs::read_to_string(home.path().join("agent.log")).unwrap();
        let before = std::fs::read_to_string(home.path().join("agent.log.1")).unwrap();
        assert!(now.len() <= 500 && before.len() <= 500);
        assert!(now.ends_with("line 99\n"), "{now}");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_secret_never_gets_in_nor_a_second_line() {
        let home = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(home.path(), vec!["topsecret".into()]);
        journal.line("refused: key topsecret\nforged line");
        let text = std::fs::read_to_string(home.path().join("agent.log")).unwrap();
        assert!(!text.contains("topsecret"));
        assert_eq!(text.lines().count(), 1);
    }
}
