//! What the standard library has no call for: the only file with `unsafe`.
//!
//! Each of these calls is an advice; where the system has none, nothing is lost but time.

use std::fs::File;
use std::io;

/// Memory from which on huge pages are asked for: below, none would fit.
const HUGE: usize = 1 << 20;

/// Zeroed memory for a large destination, in huge pages where the system has them: a page is then touched for the first
/// time once in 2 MiB, which otherwise takes longer than reading a file from the page cache.
pub fn zeroed<T: bytemuck::Pod>(len: usize) -> Vec<T> {
    let mut memory = bytemuck::zeroed_vec(len);
    if size_of_val(memory.as_slice()) >= HUGE {
        advise_huge_pages(bytemuck::cast_slice_mut(&mut memory));
    }
    memory
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::AsRawFd;

    use super::*;

    /// The smallest page that any Linux of today has; a smaller part of a page cannot be advised.
    const PAGE: usize = 4096;

    #[allow(unsafe_code, reason = "`madvise` is not in the standard library")]
    pub(in crate::io) fn advise_huge_pages(memory: &mut [u8]) {
        let start = memory.as_ptr().addr() / PAGE * PAGE;
        let len = (memory.as_ptr().addr() + memory.len()).next_multiple_of(PAGE) - start;
        let start = memory.as_mut_ptr().with_addr(start);
        // SAFETY: the advice changes how memory is mapped and never what is in it, so that it may reach to the ends of
        // the pages at both ends, which are mapped because a part of them is ours. An error changes nothing.
        let _ = unsafe { libc::madvise(start.cast(), len, libc::MADV_HUGEPAGE) };
    }

    /// Takes the blocks of a file of `len` bytes. Writing is faster afterwards, and cannot run out of space.
    #[allow(unsafe_code, reason = "`fallocate` is not in the standard library")]
    pub(in crate::io) fn allocate(file: &File, len: u64) -> io::Result<()> {
        let Ok(len @ 1..) = libc::off64_t::try_from(len) else {
            return Ok(());
        };
        loop {
            // SAFETY: the descriptor is open as long as `file` is borrowed, and no memory is passed.
            if unsafe { libc::fallocate64(file.as_raw_fd(), 0, 0, len) } == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => return Err(error),
                // File systems without this call find out when they are written to.
                _ => return Ok(()),
            }
        }
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
use linux::advise_huge_pages;
#[cfg(target_os = "linux")]
pub(super) use linux::{allocate, start_writeback};

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use super::*;

    pub(in crate::io) fn advise_huge_pages(_: &mut [u8]) {}

    pub(in crate::io) fn allocate(_: &File, _: u64) -> io::Result<()> {
        Ok(())
    }

    pub(in crate::io) fn start_writeback(_: &File, _: u64, _: u64) {}
}

#[cfg(not(target_os = "linux"))]
use elsewhere::advise_huge_pages;
#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::{allocate, start_writeback};

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn memory_is_zero_whatever_its_size() {
        for len in [0, 1, 1000, HUGE / 4 + 3, 3 * HUGE] {
            let mut memory: Vec<u32> = zeroed(len);
            assert_eq!(memory.len(), len);
            assert!(memory.iter().all(|&word| word == 0));
            memory.fill(7);
        }
    }

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
