//! Files that somebody was writing when it was killed. Who replaces a file writes beside it first, under a name with its pid in it, and
//! nobody else would ever touch that name again.

use std::fs;
use std::path::Path;

/// How such names end.
const ENDINGS: [&str; 2] = [".tmp", ".new"];

/// Removes what processes that have ended have left in a folder. What can't be removed, or looked at, stays.
pub(crate) fn sweep(folder: &Path) {
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = file.file_name();
        let writer = name.to_str().and_then(writer_of);
        if writer.is_some_and(|pid| !os::process::exists(pid))
            && file.file_type().is_ok_and(|kind| kind.is_file())
        {
            let _ = fs::remove_file(file.path());
        }
    }
}

/// The process that writes under this name; `None`: it is a file like any other.
fn writer_of(name: &str) -> Option<u32> {
    let name = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending))?;
    let (of, pid) = name.rsplit_once('.')?;
    let is_number = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !of.is_empty()).then(|| pid.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_who_writes() {
        for (name, writer) in [
            ("app-0.pid.4711.tmp", Some(4711)),
            ("dump.pm2.12.new", Some(12)),
            ("dump.pm2", None),
            ("app-0.pid", None),
            ("4711.tmp", None),
            (".4711.tmp", None),
            ("app.+1.tmp", None),
            ("app..tmp", None),
            ("app.99999999999.tmp", None),
        ] {
            assert_eq!(writer_of(name), writer, "{name}");
        }
    }

    #[test]
    fn only_what_is_unfinished_for_ever_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let at = |name: &str| dir.path().join(name);
        let left = at(&format!("a.pid.{}.tmp", ended.id()));
        let written_now = at(&format!("b.pid.{}.new", std::process::id()));
        let folder = at(&format!("c.{}.tmp", ended.id()));
        for file in [&left, &written_now, &at("a.pid")] {
            fs::write(file, "1").unwrap();
        }
        fs::create_dir(&folder).unwrap();
        sweep(dir.path());
        assert!(!left.exists());
        assert!(written_now.exists() && folder.exists() && at("a.pid").exists());
        sweep(&at("no such folder"));
    }
}
