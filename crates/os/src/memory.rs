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
