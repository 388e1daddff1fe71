//! How this process holds memory.

#[cfg(target_os = "linux")]
use std::ops::Range;

/// For a process that lives long, has few threads, and works in bursts: one heap for all threads, and what is freed goes back to the
/// system at once when it is large, and soon when it is not. Call it before other threads exist. Another C library than GNU's is left
/// as it is.
pub fn be_thrifty() {
    #[cfg(target_env = "gnu")]
    {
        const LARGE: libc::c_int = 32 * 1024;
        const STEP: libc::c_int = 16 * 1024;
        // SAFETY: these set numbers of the allocator; a value that it does not like changes nothing.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
            // Set by hand, it does not grow with the largest block that was ever freed.
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
            libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
            libc::mallopt(libc::M_TOP_PAD, STEP);
        }
        give_back();
    }
}

/// Gives back what is free inside the heap, too. It takes about a millisecond for each 10 MB.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no arguments to get wrong, and all threads may use the heap meanwhile.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// For a process that has nothing to do for a while: gives back what is free in the heap, and lets go of its program's code and
/// constants. What is needed of them comes back out of the page cache by itself, in some microseconds; what only the last work, or
/// the start, needed stays away. Marks that a debugger has put into the code are lost by it.
pub fn rest() {
    give_back();
    #[cfg(target_os = "linux")]
    let_go_of_program();
}

#[cfg(target_os = "linux")]
fn let_go_of_program() {
    let page = rustix::param::page_size();
    let program = Program::of_this_process();
    for Range { start, end } in program.constant {
        let_go(start - start % page..end);
    }
    // Tables of addresses are part of the data, and were protected once they were put right. Most have needed nothing.
    if let Some(Range { start, end }) = program.protected {
        for unwritten in unwritten(start.next_multiple_of(page)..end - end % page, page) {
            let_go(unwritten);
        }
    }
}

/// Where the program itself lies in memory.
#[cfg(target_os = "linux")]
#[derive(Debug, Default)]
struct Program {
    /// Parts that nobody may write, nor ever could.
    constant: Vec<Range<usize>>,
    /// The part that could be written at the start only.
    protected: Option<Range<usize>>,
}

#[cfg(target_os = "linux")]
impl Program {
    fn of_this_process() -> Self {
        let mut program = Self::default();
        // SAFETY: `note_object` gets what it expects, and keeps nothing of it.
        unsafe { libc::dl_iterate_phdr(Some(note_object), (&raw mut program).cast()) };
        program
    }
}

/// Notes the first object, which is the program; libraries are shared by all. To be called by `dl_iterate_phdr` with a [`Program`].
#[cfg(target_os = "linux")]
unsafe extern "C" fn note_object(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    program: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the caller gives a description that is good during the call, with as many headers as it says, and what it was given.
    let (base, headers, program) = unsafe {
        let info = &*info;
        let headers = std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum));
        (info.dlpi_addr, headers, &mut *program.cast::<Program>())
    };
    for header in headers {
        let place = usize::try_from(base + header.p_vaddr)
            .ok()
            .zip(usize::try_from(header.p_memsz).ok());
        let Some((start, len)) = place else { continue };
        match header.p_type {
            libc::PT_LOAD if header.p_flags & libc::PF_W == 0 => program.constant.push(start..start + len),
            libc::PT_GNU_RELRO => program.protected = Some(start..start + len),
            _ => {}
        }
    }
    1
}

/// The pages of a part of memory that are those of its file, as runs. None where the kernel does not tell.
#[cfg(target_os = "linux")]
fn unwritten(part: Range<usize>, page: usize) -> Vec<Range<usize>> {
    use std::os::unix::fs::FileExt;
    /// The page is there, and is not this process's own copy. See `Documentation/admin-guide/mm/pagemap.rst`.
    const OF_FILE: u64 = 1 << 63 | 1 << 61;
    let mut entries = vec![0; part.len() / page * 8];
    let read = std::fs::File::open("/proc/self/pagemap")
        .and_then(|map| map.read_exact_at(&mut entries, (part.start / page * 8) as u64));
    if read.is_err() {
        return Vec::new();
    }
    let mut runs: Vec<Range<usize>> = Vec::new();
    let (entries, _) = entries.as_chunks::<8>();
    for (at, entry) in (part.start..).step_by(page).zip(entries) {
        if u64::from_ne_bytes(*entry) & OF_FILE != OF_FILE {
            continue;
        }
        match runs.last_mut() {
            Some(run) if run.end == at => run.end += page,
            _ => runs.push(at..at + page),
        }
    }
    runs
}

/// Lets go of pages that are those of the program's file and that nobody may write: each comes back as it was.
#[cfg(target_os = "linux")]
fn let_go(part: Range<usize>) {
    let start = std::ptr::without_provenance_mut(part.start);
    // SAFETY: by what this function is for, the content of the pages stays the same.
    unsafe { libc::madvise(start, part.len(), libc::MADV_DONTNEED) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rested_process_runs_on_with_less() {
        let resident = || {
            let memory = crate::proc::memory_of(std::process::id()).expect("its own memory can be read");
            memory.file_bytes
        };
        let text = format!("{:?}", (1, "some code was run"));
        let before = resident();
        rest();
        let after = resident();
        assert!(after < before, "{after} of {before} bytes");
        let program = Program::of_this_process();
        let code = rest as *const () as usize;
        assert!(program.constant.iter().any(|part| part.contains(&code)));
        assert!(program.protected.is_some_and(|part| !part.is_empty()));
        assert_eq!(format!("{:?}", (1, "some code was run")), text);
    }
}
