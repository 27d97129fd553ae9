//! What the allocator may keep of the memory that was given back. Sets two numbers at the start, and allocates nothing.

/// From this length on, memory is the system's again as soon as it is given back: that of packs and of buffers of
/// media, which are reused, and grow without being copied.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_MIN_BYTES: libc::c_int = 8 << 20;
/// So much of the rest may be kept, by each of its arenas: to ask for it again and again takes longer.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_MAX_BYTES: libc::c_int = 32 << 20;

/// Bounds it, where the allocator is glibc's. That raises both numbers of its own accord whenever a large buffer is
/// given back, and then a backup of media takes from 200 to 300 MiB at its peak, by chance.
pub fn bound() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes two numbers, and no other thread is there yet. One that it does not take changes nothing.
    #[allow(unsafe_code)]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_MIN_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_MAX_BYTES);
    }
}
