//! How this process holds memory.

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
    unsafe extern "C" fn object(
        info: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        _data: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the caller gives a description that is good during the call, with as many headers as it says.
        let (base, headers) = unsafe {
            let info = &*info;
            let headers = std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum));
            (info.dlpi_addr, headers)
        };
        let page = rustix::param::page_size();
        for header in headers {
            // Only what was never written: the pages are those of the file. (Tables that are put right at the start and protected
            // then are part of a segment that says that it is written.)
            if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
                continue;
            }
            let (Ok(from), Ok(len)) = (
                usize::try_from(base + header.p_vaddr),
                usize::try_from(header.p_memsz),
            ) else {
                continue;
            };
            let begin = from - from % page;
            // SAFETY: private mappings of the program's file without the right to write, so each page comes back as it was.
            unsafe {
                libc::madvise(
                    std::ptr::without_provenance_mut(begin),
                    from + len - begin,
                    libc::MADV_DONTNEED,
                )
            };
        }
        // The first is the program itself. Libraries are shared by all.
        1
    }
    // SAFETY: the function above keeps nothing and calls nothing back.
    unsafe { libc::dl_iterate_phdr(Some(object), std::ptr::null_mut()) };
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
        assert_eq!(format!("{:?}", (1, "some code was run")), text);
    }
}
