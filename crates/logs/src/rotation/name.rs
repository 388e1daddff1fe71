//! The names of files that were put aside: `app-out__2026-11-23T01-47-43-123Z.log`, in UTC, so that they sort by age.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;

/// Between the log's name and the date.
const MARK: &[u8] = b"__";
/// `2026-11-23T01-47-43-123Z`
const DATE_LEN: usize = 24;
const DIGITS: [usize; 17] = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21, 22];
pub(super) const COMPRESSED: &str = ".gz";

/// Where a log that is put aside at this time goes.
pub(super) fn aside(log: &Path, at_ms: i64) -> PathBuf {
    let (stem, extension) = parts(log);
    let mut name = stem.as_bytes().to_vec();
    name.extend_from_slice(MARK);
    name.extend_from_slice(date(at_ms).as_bytes());
    name.extend_from_slice(extension.as_bytes());
    log.with_file_name(OsString::from_vec(name))
}

/// The same file, compressed.
pub(super) fn compressed(aside: &Path) -> PathBuf {
    let mut name = aside.as_os_str().to_owned();
    name.push(COMPRESSED);
    PathBuf::from(name)
}

/// When the file of this name was put aside by us as a part of this log, ms since the epoch; `None`: it was not.
#[must_use]
pub fn rotated_at(log: &Path, name: &OsStr) -> Option<i64> {
    let (stem, extension) = parts(log);
    let date = name
        .as_bytes()
        .strip_prefix(stem.as_bytes())?
        .strip_prefix(MARK)?;
    let date = date.strip_suffix(COMPRESSED.as_bytes()).unwrap_or(date);
    parse(date.strip_suffix(extension.as_bytes())?)
}

/// The log's older parts that stand beside it, oldest first: ours, those of logrotate (`app.log.1`, `app.log-20261123`) and those of
/// pm2-logrotate, compressed or not. A part that is there twice is named once. Nothing is told of a folder that cannot be read.
#[must_use]
pub fn family(log: &Path) -> Vec<PathBuf> {
    let folder = log.parent().filter(|p| !p.as_os_str().is_empty());
    let Ok(entries) = std::fs::read_dir(folder.unwrap_or(Path::new("."))) else {
        return Vec::new();
    };
    let mut found: Vec<(SystemTime, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter(|entry| is_part(log, &entry.file_name()))
        .filter_map(|entry| {
            let meta = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some((meta.modified().ok()?, log.with_file_name(entry.file_name())))
        })
        .collect();
    found.sort();
    let plain: std::collections::BTreeSet<PathBuf> = found.iter().map(|(_, path)| path.clone()).collect();
    found
        .into_iter()
        .map(|(_, path)| path)
        .filter(|path| {
            let whole = path
                .as_os_str()
                .as_bytes()
                .strip_suffix(COMPRESSED.as_bytes())
                .map(OsStr::from_bytes);
            whole.is_none_or(|whole| !plain.contains(Path::new(whole)))
        })
        .collect()
}

fn is_part(log: &Path, name: &OsStr) -> bool {
    let (stem, extension) = parts(log);
    let name = name.as_bytes();
    let name = name.strip_suffix(COMPRESSED.as_bytes()).unwrap_or(name);
    let is_date = |text: &[u8]| {
        text.iter().any(u8::is_ascii_digit)
            && text
                .iter()
                .all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'_' | b':' | b'.' | b'T' | b'Z'))
    };
    let dated = name
        .strip_prefix(stem.as_bytes())
        .and_then(|rest| rest.strip_prefix(MARK))
        .and_then(|rest| rest.strip_suffix(extension.as_bytes()))
        .is_some_and(is_date);
    let numbered = log
        .file_name()
        .and_then(|whole| name.strip_prefix(whole.as_bytes()))
        .and_then(|rest| rest.strip_prefix(b".").or_else(|| rest.strip_prefix(b"-")))
        .is_some_and(is_date);
    dated || numbered
}

/// The name before the extension, and the extension with its dot.
fn parts(log: &Path) -> (&OsStr, OsString) {
    let mut extension = OsString::new();
    if let Some(text) = log.extension() {
        extension.push(".");
        extension.push(text);
    }
    (log.file_stem().unwrap_or_default(), extension)
}

fn date(at_ms: i64) -> String {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H-%M-%S-%3fZ").to_string()
}

fn parse(text: &[u8]) -> Option<i64> {
    if text.len() != DATE_LEN {
        return None;
    }
    let digits: Option<Vec<u8>> = DIGITS
        .iter()
        .map(|at| text.get(*at).copied().filter(u8::is_ascii_digit))
        .collect();
    let digits = String::from_utf8(digits?).ok()?;
    let at = jiff::fmt::strtime::parse("%Y%m%d%H%M%S", digits.get(..14)?).ok()?;
    let at = at.to_datetime().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    let ms = at.timestamp().as_millisecond() + digits.get(14..)?.parse::<i64>().ok()?;
    // What stands between the digits must be ours, too.
    (date(ms).as_bytes() == text).then_some(ms)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: i64 = 1_795_398_463_123;

    #[test]
    fn names_carry_the_time() {
        for (log, expected) in [
            ("/l/app-out.log", "/l/app-out__2026-11-23T01-47-43-123Z.log"),
            ("/l/plain", "/l/plain__2026-11-23T01-47-43-123Z"),
            ("out.txt", "out__2026-11-23T01-47-43-123Z.txt"),
        ] {
            let aside = aside(Path::new(log), AT);
            assert_eq!(aside, Path::new(expected));
            let name = aside.file_name().unwrap();
            assert_eq!(rotated_at(Path::new(log), name), Some(AT));
            let compressed = compressed(&aside);
            assert_eq!(
                rotated_at(Path::new(log), compressed.file_name().unwrap()),
                Some(AT)
            );
        }
    }

    #[test]
    fn what_is_not_ours_is_never_taken_for_it() {
        let log = Path::new("/l/app-out.log");
        for name in [
            "app-out.log",
            "app-out.log.1",
            "app-out__2026-11-23_01-47-43.log",
            "app-out__2026-13-23T01-47-43-123Z.log",
            "app-out__2026-11-23T01-47-43-123Z.txt",
            "app-out__2026-11-23T01-47-43-123Z.log.gz.part",
            "app-out__2026-11-23 01-47-43-123Z.log",
            "app-out__x__2026-11-23T01-47-43-123Z.log",
            "app__2026-11-23T01-47-43-123Z.log",
        ] {
            assert_eq!(rotated_at(log, OsStr::new(name)), None, "{name}");
        }
    }

    #[test]
    fn a_family_is_found_whoever_put_it_aside() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("app.log");
        let ours = "app__2026-11-23T01-47-43-123Z.log";
        let parts = [
            "app.log.2.gz",
            "app.log.1",
            "app__2026-11-22_00-00-00.log",
            &format!("{ours}.gz"),
            ours,
        ];
        let mut at = std::time::UNIX_EPOCH;
        for name in parts
            .iter()
            .chain(&["app.log", "app.log.bak", "app__other.log", "app2.log.1"])
        {
            at += std::time::Duration::from_secs(1);
            let file = std::fs::File::create(dir.path().join(name)).unwrap();
            file.set_modified(at).unwrap();
        }
        let names: Vec<String> = family(&log)
            .iter()
            .map(|p| p.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(
            names,
            ["app.log.2.gz", "app.log.1", "app__2026-11-22_00-00-00.log", ours]
        );
    }

    proptest! {
        #[test]
        fn names_sort_by_time(a in 0i64..4_000_000_000_000, b in 0i64..4_000_000_000_000) {
            let log = Path::new("x.log");
            prop_assert_eq!(a.cmp(&b), aside(log, a).cmp(&aside(log, b)));
            prop_assert_eq!(rotated_at(log, aside(log, a).file_name().unwrap()), Some(a));
        }

        #[test]
        fn any_name_is_survived(name in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = rotated_at(Path::new("a.log"), OsStr::from_bytes(&name));
            let _ = is_part(Path::new("a.log"), OsStr::from_bytes(&name));
        }
    }
}
