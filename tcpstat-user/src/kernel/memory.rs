//! Returns memory to the kernel.

/// Makes all threads allocate from one arena. Call it before the first thread starts.
///
/// By default glibc makes more arenas for threads, and [`release_memory`] does not shrink those: the memory that
/// a snapshot or the kernel's BTF needs for a moment would stay resident.
pub fn one_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function takes two numbers. If it fails it changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Returns freed memory that the allocator keeps: megabytes after reading the kernel's BTF or a large snapshot.
pub fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}
