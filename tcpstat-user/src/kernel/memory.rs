//! Memory that is given back.

/// Has all threads allocate from one arena. To be called before the first of them starts.
///
/// glibc makes further arenas for threads, and [`release_memory`] cannot shrink those: what a listing or
/// the kernel's BTF took for a moment would stay resident for ever.
pub fn one_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function takes two numbers; refused, it changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives back what the allocator keeps: after parsing the kernel's BTF or a long listing, megabytes.
pub fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}
