//! Memory that is given back.

/// Gives back what the allocator keeps: after parsing the kernel's BTF or a long listing, megabytes.
pub fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}
