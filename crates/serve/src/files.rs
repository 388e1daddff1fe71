//! Opening what is below the root, and nothing else.

use crate::listing::Entry;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Entries of a listed folder, at most.
const MAX_ENTRIES: usize = 10_000;

/// What is at a path.
#[derive(Debug)]
pub(crate) enum Found {
    /// A file to be sent.
    File { file: File, meta: Metadata },
    /// A folder.
    Folder,
    /// It is there, but not to be read from here.
    Forbidden,
    /// Nothing.
    Missing,
}

/// Looks up `path` below `root`. Unless links are followed, the kernel itself refuses whatever leads out, in one step, so nothing can
/// be exchanged in between.
pub(crate) fn find(root: &Path, path: &str, follow_links: bool) -> io::Result<Found> {
    let opened = if follow_links {
        // Not to be held up by a pipe without a writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        rustix::fs::open(root.join(path), flags, Mode::empty())
    } else {
        open_below(root, path)
    };
    let file = match opened {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => return Ok(Found::Missing),
        // Out of the root, in a circle, or not ours to read.
        Err(Errno::XDEV | Errno::LOOP | Errno::ACCESS | Errno::PERM) => return Ok(Found::Forbidden),
        // A socket, or a device without a driver.
        Err(Errno::NXIO | Errno::NODEV) => return Ok(Found::Forbidden),
        Err(error) => return Err(error.into()),
    };
    let meta = file.metadata()?;
    Ok(if meta.is_dir() {
        Found::Folder
    } else if meta.is_file() {
        Found::File { file, meta }
    } else {
        Found::Forbidden
    })
}

fn open_below(root: &Path, path: &str) -> rustix::io::Result<OwnedFd> {
    // Each time anew: where the root is a link, a deployment may just have changed it.
    let base = rustix::fs::open(
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let path = if path.is_empty() { "." } else { path };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(&base, path, flags, Mode::empty(), beneath) {
        Err(Errno::NOSYS) => open_checked(root, path, flags),
        opened => opened,
    }
}

/// For kernels before 5.6: where the path leads is looked up first.
fn open_checked(root: &Path, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let real = root.join(path).canonicalize().map_err(errno)?;
    if !real.starts_with(root.canonicalize().map_err(errno)?) {
        return Err(Errno::XDEV);
    }
    rustix::fs::open(real, flags | OFlags::NOFOLLOW, Mode::empty())
}

/// The visible entries of a folder that [`find`] found; `true`: there are more.
pub(crate) fn list(root: &Path, path: &str) -> io::Result<(Vec<Entry>, bool)> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(root.join(path))? {
        let entry = entry?;
        // A name that is no text could not stand in a link.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        if entries.len() == MAX_ENTRIES {
            return Ok((entries, true));
        }
        // Gone meanwhile, or a link to nowhere.
        let Ok(meta) = std::fs::metadata(entry.path()) else {
            continue;
        };
        entries.push(Entry {
            name,
            folder: meta.is_dir(),
            size: meta.len(),
            modified: meta.modified().ok(),
        });
    }
    Ok((entries, false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn kind(root: &Path, path: &str, follow: bool) -> &'static str {
        match find(root, path, follow).unwrap() {
            Found::File { .. } => "file",
            Found::Folder => "folder",
            Found::Forbidden => "forbidden",
            Found::Missing => "missing",
        }
    }

    #[test]
    fn nothing_outside_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        std::fs::write(root.join("sub/a"), "a").unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("sub/a", root.join("in")).unwrap();
        symlink(dir.path(), root.join("up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("pipe"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        for (path, strict, loose) in [
            ("", "folder", "folder"),
            ("sub", "folder", "folder"),
            ("sub/a", "file", "file"),
            ("in", "file", "file"),
            ("out", "forbidden", "file"),
            ("up/secret", "forbidden", "file"),
            ("loop", "forbidden", "forbidden"),
            ("pipe", "forbidden", "forbidden"),
            ("nope", "missing", "missing"),
            ("sub/a/b", "missing", "missing"),
        ] {
            assert_eq!(kind(&root, path, false), strict, "{path}");
            assert_eq!(kind(&root, path, true), loose, "{path}, links followed");
            let checked = open_checked(&root, path, OFlags::RDONLY | OFlags::NONBLOCK);
            let refused = matches!(strict, "forbidden" | "missing") && path != "pipe";
            assert_eq!(checked.is_err(), refused, "{path}, on an old kernel");
        }
        // The root itself may be a link that changes.
        symlink(&root, dir.path().join("current")).unwrap();
        assert_eq!(kind(&dir.path().join("current"), "sub/a", false), "file");
        let (entries, cut) = list(&root, "").unwrap();
        assert!(!cut && entries.iter().all(|entry| entry.name != "loop"));
    }
}
