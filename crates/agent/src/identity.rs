//! Who this server is: a random machine id kept in `$PM2_HOME`, and small private files in general.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use thiserror::Error;
use wire::MachineId;

/// Name of the file in `$PM2_HOME`: two lines, the machine id and a fingerprint of the machine.
pub const FILE: &str = "agent.id";
const MAX_BYTES: u64 = 4096;

/// A file could not be read or written.
#[derive(Debug, Error)]
#[error("{doing} {path}")]
pub struct FileError {
    /// Which file.
    pub path: PathBuf,
    /// What was being done.
    pub doing: &'static str,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

/// The identity cannot be kept.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// Its file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The system gives no random numbers.
    #[error("drawing a random identity")]
    Random(#[source] getrandom::Error),
}

/// Draws an identity.
pub fn random_id() -> Result<[u8; 16], IdentityError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(IdentityError::Random)?;
    Ok(id)
}

/// The identity kept in `home`, if there is one that can be read; nothing is made.
pub fn known(home: &Path) -> Option<MachineId> {
    let text = read_small(&home.join(FILE), MAX_BYTES).ok()??;
    parse(&text).map(|(id, _)| id)
}

/// Gives the identity kept in `home`, or makes one.
///
/// `fingerprint` tells one machine from another (may be empty = not known): a home that was copied to another machine
/// with an image gets an identity of its own, one that stays keeps it through boots, updates and renames.
pub fn machine_id(home: &Path, fingerprint: &str) -> Result<MachineId, IdentityError> {
    let path = home.join(FILE);
    let text = read_small(&path, MAX_BYTES)?;
    let known = text.as_deref().and_then(parse);
    if let Some((id, kept)) = &known
        && (kept == fingerprint || kept.is_empty() || fingerprint.is_empty())
    {
        return Ok(*id);
    }
    if text.is_some() {
        // Copied from another machine, or unreadable: kept beside, for whoever wonders.
        let aside = home.join("agent.id.before");
        fs::rename(&path, &aside).map_err(|source| FileError {
            path: path.clone(),
            doing: "moving aside",
            source,
        })?;
    }
    let id = MachineId(random_id()?);
    write_private(&path, format!("{id}\n{fingerprint}\n").as_bytes())?;
    Ok(id)
}

fn parse(text: &str) -> Option<(MachineId, String)> {
    let mut lines = text.lines();
    let id = lines.next()?.trim().parse().ok()?;
    Some((id, lines.next().unwrap_or_default().trim().to_owned()))
}

/// What tells this machine from another one; empty if nothing does.
pub fn machine_fingerprint() -> String {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .find_map(|path| read_small(Path::new(path), MAX_BYTES).ok().flatten())
        .map(|text| text.trim().to_owned())
        .filter(|text| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()))
        .unwrap_or_default()
}

/// Reads a text file of at most `max` bytes; `None` if it is not there.
pub fn read_small(path: &Path, max: u64) -> Result<Option<String>, FileError> {
    let failed = |source| FileError {
        path: path.to_owned(),
        doing: "reading",
        source,
    };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > max {
        return Err(failed(io::Error::new(
            io::ErrorKind::InvalidData,
            "file is too large",
        )));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| failed(io::Error::new(io::ErrorKind::InvalidData, "file is not text")))?;
    Ok(Some(text))
}

/// Writes a file that only its owner may read; whoever reads it sees the old or the new content, never half of it.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let failed = |source| FileError {
        path: path.to_owned(),
        doing: "writing",
        source,
    };
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|source| {
        let _ = fs::remove_file(&beside);
        failed(source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "0123456789abcdef0123456789abcdef";
    const THERE: &str = "ffffffffffffffff0123456789abcdef";

    #[test]
    fn an_identity_stays_on_its_machine_and_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        assert_eq!(known(home.path()), None);
        let id = machine_id(home.path(), HERE).unwrap();
        assert_eq!(known(home.path()), Some(id));
        assert_eq!(machine_id(home.path(), HERE).unwrap(), id);
        assert_eq!(
            machine_id(home.path(), "").unwrap(),
            id,
            "a machine that tells nothing is not another one"
        );
        let mode = fs::metadata(home.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_home_copied_to_another_machine_gets_its_own_identity() {
        let home = tempfile::tempdir().unwrap();
        let id = machine_id(home.path(), HERE).unwrap();
        let there = machine_id(home.path(), THERE).unwrap();
        assert_ne!(there, id);
        assert_eq!(machine_id(home.path(), THERE).unwrap(), there);
    }

    #[test]
    fn a_damaged_identity_is_moved_aside_not_overwritten() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(FILE), "what is this").unwrap();
        machine_id(home.path(), HERE).unwrap();
        assert_eq!(
            fs::read_to_string(home.path().join("agent.id.before")).unwrap(),
            "what is this"
        );
    }

    #[test]
    fn two_homes_are_two_servers() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_ne!(
            machine_id(one.path(), HERE).unwrap(),
            machine_id(two.path(), HERE).unwrap()
        );
    }
}
