//! Cgroups of version 2: where the own process is, what was delegated to it, and the few files that matter.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

const PROCS: &str = "cgroup.procs";
const SUBTREE: &str = "cgroup.subtree_control";

/// Where the hierarchy is mounted, and the cgroup of this process in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The mount point.
    pub top: PathBuf,
    /// The folder of this process's cgroup, at or below `top`.
    pub own: PathBuf,
}

/// Looks it up in `/proc`. `None`: no hierarchy of version 2 is mounted that shows this process.
#[must_use]
pub fn place() -> Option<Place> {
    let own = own_path(&fs::read_to_string("/proc/self/cgroup").ok()?)?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts
        .lines()
        .filter_map(mount)
        .filter_map(|(root, top)| {
            let below = own.strip_prefix(&root).ok()?;
            let own = if below.as_os_str().is_empty() {
                top.clone()
            } else {
                top.join(below)
            };
            Some(Place { top, own })
        })
        .find(|place| place.own.join(PROCS).exists())
}

/// `0::/path` is the line of version 2. A path with `..` lies outside of what this process may see.
fn own_path(text: &str) -> Option<PathBuf> {
    let path = PathBuf::from(text.lines().find_map(|line| line.strip_prefix("0::"))?);
    let inside = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    inside.then_some(path)
}

/// Root and mount point of a line of `mountinfo`, if a hierarchy of version 2 is mounted there.
fn mount(line: &str) -> Option<(PathBuf, PathBuf)> {
    let (fields, rest) = line.split_once(" - ")?;
    (rest.split(' ').next() == Some("cgroup2")).then_some(())?;
    let mut fields = fields.split(' ').skip(3);
    Some((unescaped(fields.next()?), unescaped(fields.next()?)))
}

/// Blanks are written as `\040` there.
fn unescaped(text: &str) -> PathBuf {
    PathBuf::from(text.replace("\\040", " ").replace("\\011", "\t"))
}

/// Whether the manager of the system has marked it as given away, as systemd does for `Delegate=`.
#[must_use]
pub fn is_delegated(cgroup: &Path) -> bool {
    ["user.delegate", "trusted.delegate"].iter().any(|name| {
        let mut value = [0_u8; 8];
        let length = rustix::fs::getxattr(cgroup, *name, &mut value[..]);
        length.is_ok_and(|length| value.get(..length) == Some(b"1"))
    })
}

/// Whether it is the root of the whole hierarchy, which may have processes and children with controllers at once. The root of
/// a container's view of it is none.
#[must_use]
pub fn is_root(cgroup: &Path) -> bool {
    cgroup.join(PROCS).exists() && !cgroup.join("cgroup.type").exists()
}

/// Makes it, if it is not there.
///
/// # Errors
/// The kernel's answer, with the path.
pub fn make(cgroup: &Path) -> io::Result<()> {
    match fs::create_dir(cgroup) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(about(cgroup, "making", &error)),
        _ => Ok(()),
    }
}

/// Removes it. It must be empty: `ResourceBusy` says that a process is still in it.
///
/// # Errors
/// The kernel's answer.
pub fn remove(cgroup: &Path) -> io::Result<()> {
    fs::remove_dir(cgroup)
}

/// Controllers that its children have.
///
/// # Errors
/// It can't be read.
pub fn given_to_children(cgroup: &Path) -> io::Result<Vec<String>> {
    let text = fs::read_to_string(cgroup.join(SUBTREE))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// Gives its children a controller.
///
/// # Errors
/// The kernel's answer, with the path: it is not there (`NotFound`), or processes are in it (`ResourceBusy`).
pub fn give_to_children(cgroup: &Path, controller: &str) -> io::Result<()> {
    set(cgroup, SUBTREE, &format!("+{controller}"))
}

/// Processes in it, without those in its children.
///
/// # Errors
/// It can't be read.
pub fn members(cgroup: &Path) -> io::Result<Vec<u32>> {
    let text = fs::read_to_string(cgroup.join(PROCS))?;
    Ok(text.lines().filter_map(|line| line.trim().parse().ok()).collect())
}

/// Moves a process into it.
///
/// # Errors
/// The kernel's answer, with the path.
pub fn take_in(cgroup: &Path, pid: u32) -> io::Result<()> {
    set(cgroup, PROCS, &pid.to_string())
}

/// Writes one of its files.
///
/// # Errors
/// The kernel's answer, with the path.
pub fn set(cgroup: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = cgroup.join(file);
    fs::write(&path, value).map_err(|error| about(&path, &format!("writing {value} to"), &error))
}

/// What a new process writes itself into ([`crate::spawn::Launcher::spawn_into`]).
///
/// # Errors
/// The kernel's answer, with the path.
pub fn door(cgroup: &Path) -> io::Result<OwnedFd> {
    let path = cgroup.join(PROCS);
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .map(OwnedFd::from)
        .map_err(|error| about(&path, "opening", &error))
}

fn about(path: &Path, what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc() {
        assert_eq!(
            own_path("4:memory:/x\n0::/user.slice/app.service\n"),
            Some("/user.slice/app.service".into())
        );
        assert_eq!(own_path("0::/../elsewhere\n"), None);
        assert_eq!(own_path("4:memory:/x\n"), None);
        let line = "36 35 0:30 /sub /sys/fs/my\\040cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(mount(line), Some(("/sub".into(), "/sys/fs/my cgroup".into())));
        assert_eq!(mount("36 35 0:30 / /sys rw - sysfs sysfs rw"), None);
        assert_eq!(mount("nonsense"), None);
    }

    #[test]
    fn what_is_no_cgroup_is_said_so() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_delegated(folder.path()) && !is_root(folder.path()));
        assert!(given_to_children(folder.path()).is_err() && members(folder.path()).is_err());
        let error = door(folder.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("cgroup.procs"), "{error}");
        // Whatever this machine has, asking does no harm.
        let _ = place();
    }
}
