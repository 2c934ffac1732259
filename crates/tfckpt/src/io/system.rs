//! What the standard library has no call for. Each of these calls is an advice: where the system has none, nothing is
//! lost but time.

use std::fs::File;
use std::io;
use std::path::Path;

/// Memory from which on huge pages are asked for: below, none would fit.
const HUGE: usize = 1 << 20;

/// Memory from which on one call is cheaper than touching the pages one after the other.
const POPULATED: usize = 16 * 1024;

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::AsRawFd;

    use super::*;

    /// The smallest page that any Linux of today has; a smaller part of a page cannot be advised.
    const PAGE: usize = 4096;

    pub(in crate::io) fn advise_huge_pages<T>(memory: &mut [T]) {
        if size_of_val(memory) >= HUGE {
            advise(memory, libc::MADV_HUGEPAGE);
        }
    }

    /// Has the system map memory that will be written to, all of it in one call: otherwise it is called again for every
    /// page that is touched for the first time.
    pub(in crate::io) fn populate<T>(memory: &mut [T]) {
        if size_of_val(memory) >= POPULATED {
            advise(memory, libc::MADV_POPULATE_WRITE);
        }
    }

    #[allow(unsafe_code, reason = "`madvise` is not in the standard library")]
    fn advise<T>(memory: &mut [T], advice: libc::c_int) {
        let start = memory.as_ptr().addr() / PAGE * PAGE;
        let len = (memory.as_ptr().addr() + size_of_val(memory)).next_multiple_of(PAGE) - start;
        let start = memory.as_mut_ptr().with_addr(start);
        // SAFETY: both advices change how memory is mapped and never what is in it, so that they may reach to the ends of
        // the pages at both ends, which are mapped because a part of them is ours. An error changes nothing.
        let _ = unsafe { libc::madvise(start.cast(), len, advice) };
    }

    /// Takes the blocks of a file of `len` bytes. Writing is faster afterwards, and cannot run out of space.
    pub(in crate::io) fn allocate(file: &File, len: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;

        if len == 0 {
            return Ok(());
        }
        let allocate = || fallocate(file, FallocateFlags::empty(), 0, len);
        match rustix::io::retry_on_intr(allocate) {
            Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(error.into()),
            // File systems without this call find out when they are written to.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Lets go of what the system holds of a file in memory. What is not on the device yet stays.
    pub(in crate::io) fn forget_cached(file: &File) {
        let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    }

    /// Starts to bring a part of a file to the device, and does not wait for it.
    #[allow(unsafe_code, reason = "`sync_file_range` is not in the standard library")]
    pub(in crate::io) fn start_writeback(file: &File, offset: u64, len: u64) {
        if let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) {
            // SAFETY: the descriptor is open as long as `file` is borrowed, and no memory is passed. Whether it works
            // does not matter: `fsync` follows.
            let _ = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
        }
    }
}

#[cfg(target_os = "linux")]
pub(super) use linux::{advise_huge_pages, allocate, forget_cached, populate, start_writeback};

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use super::*;

    pub(in crate::io) fn advise_huge_pages<T>(_: &mut [T]) {}

    pub(in crate::io) fn populate<T>(_: &mut [T]) {}

    pub(in crate::io) fn allocate(_: &File, _: u64) -> io::Result<()> {
        Ok(())
    }

    pub(in crate::io) fn forget_cached(_: &File) {}

    pub(in crate::io) fn start_writeback(_: &File, _: u64, _: u64) {}
}

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::{advise_huge_pages, allocate, forget_cached, populate, start_writeback};

/// What a user without privileges may still write to the file system of a directory.
#[cfg(unix)]
pub(super) fn free_bytes(directory: &Path) -> io::Result<Option<u64>> {
    let found = rustix::fs::statvfs(directory)?;
    Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
}

#[cfg(not(unix))]
pub(super) fn free_bytes(_: &Path) -> io::Result<Option<u64>> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_for_which_there_is_no_room_is_refused_before_it_is_written() {
        let mut file = tempfile::tempfile().unwrap();
        allocate(&file, 1 << 20).unwrap();
        file.write_all(b"x").unwrap();
        start_writeback(&file, 0, 1);
        if cfg!(target_os = "linux") {
            assert!(allocate(&file, 1 << 62).is_err());
        }
    }
}
