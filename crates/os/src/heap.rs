//! One setting of the allocator, for ipc-channel's sake.

/// Keeps the allocator from asking the kernel for every message.
///
/// ipc-channel takes a buffer of 208 KiB for each `recv`. glibc maps and unmaps blocks of that size, or moves
/// the heap's end up and down: three `brk` calls a message, 21 us against 11 without (measured). The buffer
/// is never touched beyond the message, so the kept memory is address space, not RAM.
pub fn keep_message_buffers() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const KEPT: libc::c_int = 4 << 20;
        // SAFETY: mallopt only sets two numbers of the allocator; any value is allowed at any time.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        }
    }
}
