//! Anonymous files, and a few words of one shared as memory.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

/// A new anonymous file, close-on-exec, sealable. The name shows up in `/proc/<pid>/fd` only.
///
/// # Errors
/// Descriptor and memory limits.
pub fn create(name: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::memfd_create(
        name,
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
    )?)
}

/// A new anonymous file with `bytes` in it.
///
/// # Errors
/// As [`create`], and those of writing.
pub fn with_content(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = create(name)?;
    write_at(&fd, bytes, 0)?;
    Ok(fd)
}

/// Replaces the whole content. Not atomic: use it for what only its writer reads while alive.
///
/// # Errors
/// Memory limits.
pub fn replace_content(fd: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    write_at(&fd, bytes, 0)?;
    Ok(rustix::fs::ftruncate(&fd, bytes.len() as u64)?)
}

/// Reads everything, but refuses more than `limit` bytes. The descriptor's own position is neither used nor moved.
///
/// # Errors
/// `InvalidData` above the limit.
pub fn read_all(fd: impl AsFd, limit: usize) -> io::Result<Vec<u8>> {
    let size = usize::try_from(rustix::fs::fstat(&fd)?.st_size).unwrap_or(usize::MAX);
    if size > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("anonymous file of {size} bytes is above the limit of {limit}"),
        ));
    }
    let mut bytes = vec![0; size];
    let got = read_at(&fd, &mut bytes, 0)?;
    bytes.truncate(got);
    Ok(bytes)
}

/// Writes all of `bytes` at `offset`, leaving the position alone.
pub(crate) fn write_at(fd: impl AsFd, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(&fd, bytes, offset))?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

/// Fills as much of `bytes` from `offset` as there is.
pub(crate) fn read_at(fd: impl AsFd, bytes: &mut [u8], mut offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        let got = rustix::io::retry_on_intr(|| rustix::io::pread(&fd, &mut bytes[done..], offset))?;
        if got == 0 {
            break;
        }
        done += got;
        offset += got as u64;
    }
    Ok(done)
}

/// Gives the memory of `from..to` back; the file keeps its size and the range reads as zeros.
pub(crate) fn punch(fd: impl AsFd, from: u64, to: u64) -> io::Result<()> {
    if from >= to {
        return Ok(());
    }
    let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(rustix::fs::fallocate(fd, mode, from, to - from)?)
}

const WORDS: usize = 8;
const PAGE: usize = 4096;

/// Eight 64-bit words in a shared anonymous file. A store is in the file as soon as it is made: the death of the process,
/// at whatever instruction, cannot undo or halve it, and who maps the same file next reads it.
#[derive(Debug)]
pub struct SharedWords {
    fd: OwnedFd,
    address: *mut AtomicU64,
}

// SAFETY: the mapping is process-wide, lives as long as the value, and is only accessed through atomics.
unsafe impl Send for SharedWords {}
// SAFETY: as above; all access is by `&AtomicU64`.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// A new file with all words zero.
    ///
    /// # Errors
    /// Descriptor and memory limits.
    pub fn create(name: &str) -> io::Result<Self> {
        let fd = create(name)?;
        rustix::fs::ftruncate(&fd, PAGE as u64)?;
        rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Self::map(fd)
    }

    /// Maps a file made by [`SharedWords::create`], with the words it holds.
    ///
    /// # Errors
    /// `InvalidData` when it is not such a file (wrong size, or it could still shrink under the mapping).
    pub fn map(fd: OwnedFd) -> io::Result<Self> {
        let sealed = rustix::fs::fcntl_get_seals(&fd)?.contains(SealFlags::SHRINK);
        if !sealed || rustix::fs::fstat(&fd)?.st_size != PAGE as i64 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "descriptor holds no shared words",
            ));
        }
        // SAFETY: a fresh mapping at an address of the kernel's choice; the file has this size and is sealed against
        // shrinking, so access cannot fault.
        let address = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                PAGE,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &fd,
                0,
            )?
        };
        Ok(Self {
            fd,
            address: address.cast(),
        })
    }

    /// Reads word `index`.
    ///
    /// # Panics
    /// When `index` is 8 or more.
    #[must_use]
    pub fn get(&self, index: usize) -> u64 {
        self.word(index).load(Ordering::Acquire)
    }

    /// Stores word `index`.
    ///
    /// # Panics
    /// When `index` is 8 or more.
    pub fn set(&self, index: usize, value: u64) {
        self.word(index).store(value, Ordering::Release);
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < WORDS, "no such word");
        // SAFETY: the page-aligned mapping holds at least WORDS words, and lives as long as `self`.
        unsafe { &*self.address.add(index) }
    }
}

impl AsFd for SharedWords {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `map`, and no reference into it outlives `self`.
        let _ = unsafe { rustix::mm::munmap(self.address.cast(), PAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_seen_by_the_next_mapping() {
        let first = SharedWords::create("words").unwrap();
        first.set(3, 77);
        let copy = crate::fd::duplicate(&first).unwrap();
        drop(first);
        let second = SharedWords::map(copy).unwrap();
        assert_eq!((second.get(0), second.get(3)), (0, 77));
    }

    #[test]
    fn foreign_files_are_no_words() {
        let plain = with_content("plain", &[0; PAGE]).unwrap();
        assert_eq!(
            SharedWords::map(plain).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }

    #[test]
    fn content_is_bounded_and_replaceable() {
        let fd = with_content("record", b"a longer record").unwrap();
        assert_eq!(read_all(&fd, 3).unwrap_err().kind(), io::ErrorKind::InvalidData);
        replace_content(&fd, b"short").unwrap();
        assert_eq!(read_all(&fd, 64).unwrap(), b"short");
    }
}
