//! Reports of crashes: one file each, in a folder of their own beside the logs, a bounded number of them.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What this release writes.
pub const VERSION: u32 = 1;
/// So many reports are kept.
pub const KEPT: usize = 100;
/// So many last lines of each stream are in a report.
pub const LINES: usize = 200;
/// A longer line is cut.
pub const LONGEST_LINE: usize = 2000;
/// A larger file is not a report.
const LARGEST: u64 = 8 * 1024 * 1024;

/// Everything that is known of one crash. It holds names of variables, never their values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// [`VERSION`] of who wrote it.
    pub version: u32,
    /// When the process ended, ms since the epoch.
    pub at_ms: i64,
    /// The same as people and scripts read it.
    pub at: String,
    /// The app's name.
    pub name: String,
    /// Its number in the list.
    pub pm_id: u32,
    /// Its namespace.
    pub namespace: String,
    /// The process's id.
    pub pid: u32,
    /// How it ended.
    pub exit: Ended,
    /// Whether the kernel killed it for want of memory.
    pub oom: Oom,
    /// How long it had run, ms.
    pub uptime_ms: u64,
    /// CPU time of its whole life, ms; 0 if nobody knows.
    pub cpu_ms: u64,
    /// The most memory that it had, bytes; 0 if nobody knows.
    pub peak_memory: u64,
    /// `max_memory_restart`, bytes.
    pub memory_limit: Option<u64>,
    /// How often it was restarted before.
    pub restarts: u32,
    /// How often in a row it had ended too soon.
    pub unstable_restarts: u32,
    /// Its ends before this one that nobody had asked for, oldest first.
    pub history: Vec<Past>,
    /// What was executed; what looks like a secret is hidden.
    pub command: Vec<String>,
    /// Where.
    pub cwd: String,
    /// `fork` or `cluster`.
    pub mode: String,
    /// Names of the variables that it was given.
    pub variables: Vec<String>,
    /// Versions of what took part.
    pub versions: Versions,
    /// What it took in its last minute, oldest first.
    pub usage: Vec<Taken>,
    /// Last lines of standard output of this life.
    pub out: Vec<String>,
    /// Last lines of standard error of this life.
    pub err: Vec<String>,
    /// Crashes before this one of which there is no report, since they came too fast.
    pub missed: u64,
}

/// How a process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ended {
    /// With this code.
    pub code: Option<i32>,
    /// By this signal.
    pub signal: Option<String>,
}

impl Ended {
    /// `exit code 1` or `SIGSEGV`.
    #[must_use]
    pub fn text(&self) -> String {
        match (&self.signal, self.code) {
            (Some(signal), _) => signal.clone(),
            (None, Some(code)) => format!("exit code {code}"),
            (None, None) => "unknown".into(),
        }
    }
}

/// What is known of a kill for want of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Oom {
    /// `None`: it cannot be told.
    pub killed: Option<bool>,
    /// From where it is known.
    pub evidence: Vec<String>,
}

/// An end before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Past {
    /// When, ms since the epoch.
    pub at_ms: i64,
    /// How.
    pub exit: Ended,
    /// After how long, ms.
    pub uptime_ms: u64,
}

/// What took part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Versions {
    /// The process manager.
    pub pilothouse: String,
    /// The app itself.
    pub app: String,
    /// Node, where it runs it.
    pub node: String,
}

/// One look at a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Taken {
    /// When, ms since the epoch.
    pub at_ms: i64,
    /// Percent of a core.
    pub cpu: f64,
    /// Bytes.
    pub memory: u64,
}

/// The folder of the reports.
#[derive(Clone, Debug)]
pub struct Crashes {
    folder: PathBuf,
}

impl Crashes {
    /// The reports in this folder, which need not be there.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Writes a report, readable for the owner alone, and removes the oldest if there are too many. Gives its name.
    ///
    /// # Errors
    /// When it cannot be written; then nothing of it is there.
    pub fn write(&self, report: &Report) -> io::Result<String> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)?;
        let mut text = serde_json::to_vec_pretty(report)?;
        text.push(b'\n');
        let part = self.folder.join(format!("{}.part", std::process::id()));
        let written = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)
            .and_then(|mut file| file.write_all(&text))
            .and_then(|()| self.place(&part, report));
        let _ = fs::remove_file(&part);
        let name = written?;
        let names = self.names()?;
        for old in names.iter().skip(KEPT) {
            let _ = fs::remove_file(self.path(old));
        }
        Ok(name)
    }

    /// Gives it the first free name of its moment. A link replaces nothing.
    fn place(&self, part: &Path, report: &Report) -> io::Result<String> {
        let safe = |c: char| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        };
        let app: String = report.name.chars().take(64).map(safe).collect();
        let date: String = report.at.chars().filter(char::is_ascii_alphanumeric).collect();
        for more in 1.. {
            let more = if more == 1 {
                String::new()
            } else {
                format!("-{more}")
            };
            let name = format!("{date}-{app}-{}{more}", report.pm_id);
            match fs::hard_link(part, self.path(&name)) {
                Ok(()) => return Ok(name),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Names of all reports, the newest first.
    ///
    /// # Errors
    /// When the folder is there and cannot be read.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
            .collect();
        names.sort_by(|a, b| b.cmp(a));
        Ok(names)
    }

    /// One report.
    ///
    /// # Errors
    /// When it is not there, or is no report.
    pub fn read(&self, name: &str) -> io::Result<Report> {
        let mut text = Vec::new();
        fs::File::open(self.path(name))?
            .take(LARGEST)
            .read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Where a report is.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn report(n: i64) -> Report {
        Report {
            version: VERSION,
            at_ms: n,
            at: format!("2026-11-23T01:47:33.{:03}Z", n % 1000),
            name: "a/b".into(),
            pm_id: 3,
            ..Report::default()
        }
    }

    #[test]
    fn written_listed_read_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let crashes = Crashes::new(dir.path().join("crashes"));
        assert_eq!(crashes.names().unwrap(), [""; 0]);
        let first = crashes.write(&report(1)).unwrap();
        assert_eq!(first, "20261123T014733001Z-a_b-3");
        // The same moment again takes another name.
        assert_eq!(crashes.write(&report(1)).unwrap(), format!("{first}-2"));
        assert_eq!(crashes.read(&first).unwrap(), report(1));
        let mode = crashes.path(&first).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for n in 2..150 {
            crashes.write(&report(n)).unwrap();
        }
        let names = crashes.names().unwrap();
        assert_eq!(names.len(), KEPT);
        assert!(names[0].contains("149Z") && names[KEPT - 1].contains("050Z"));
        assert_eq!(fs::read_dir(dir.path().join("crashes")).unwrap().count(), KEPT);
    }

    #[test]
    fn what_is_no_report_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let crashes = Crashes::new(dir.path().to_owned());
        assert!(crashes.read("none").is_err());
        fs::write(crashes.path("odd"), "{").unwrap();
        assert!(crashes.read("odd").is_err());
        // A report of an older or a newer release has other fields.
        fs::write(crashes.path("other"), r#"{"name":"x","later":{"a":1}}"#).unwrap();
        assert_eq!(crashes.read("other").unwrap().name, "x");
    }
}
