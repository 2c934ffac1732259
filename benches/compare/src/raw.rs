//! What the machine can do at best: bytes to a file and back from all cores, and nothing else.
#![expect(unsafe_code, reason = "huge pages are asked for by mmap and madvise")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::Result;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::{Answer, timed};

/// Bytes of one call.
const PIECE: usize = 1 << 20;

/// Writes `slices` one after the other into a new file: allocated at once, then written in pieces from all cores. No
/// checksum; `synced` waits for the device, whose writing begins with every piece.
pub(crate) fn write(path: PathBuf, slices: &[&[u8]], synced: bool) -> Result<Answer> {
    let mut offset = 0;
    let mut pieces = Vec::new();
    for piece in slices.iter().flat_map(|slice| slice.chunks(PIECE)) {
        pieces.push((offset, piece));
        offset += piece.len() as u64;
    }
    let (seconds, ()) = timed(|| {
        let file = File::create(path)?;
        fallocate(&file, FallocateFlags::empty(), 0, offset)?;
        each(pieces.into_iter(), |(at, piece)| {
            file.write_all_at(piece, at)?;
            if synced {
                start_writeback(&file, at, piece.len());
            }
            Ok(())
        })?;
        if synced {
            file.sync_all()?;
        }
        Ok(())
    })?;
    Ok(Answer::time(seconds, offset))
}

/// Reads a file into new memory in pieces from all cores. No checksum.
pub(crate) fn read(path: PathBuf) -> Result<Answer> {
    let (seconds, memory) = timed(|| {
        let file = File::open(path)?;
        let mut memory = Huge::new(usize::try_from(file.metadata()?.len())?)?;
        let pieces = memory.bytes().chunks_mut(PIECE).enumerate();
        each(pieces, |(i, piece)| file.read_exact_at(piece, (i * PIECE) as u64))?;
        Ok(memory)
    })?;
    Ok(Answer::time(seconds, memory.len as u64))
}

/// Starts to bring a part of a file to the device. Whether that worked does not matter: an fsync follows.
fn start_writeback(file: &File, at: u64, len: usize) {
    if let (Ok(at), Ok(len)) = (at.try_into(), len.try_into()) {
        // SAFETY: the descriptor is open as long as `file` is borrowed, and no memory is passed.
        let _ = unsafe { libc::sync_file_range(file.as_raw_fd(), at, len, libc::SYNC_FILE_RANGE_WRITE) };
    }
}

/// Does `work` on every piece, on as many threads as there are cores.
fn each<T: Send>(pieces: impl Iterator<Item = T> + Send, work: impl Fn(T) -> std::io::Result<()> + Sync) -> Result<()> {
    let pieces = Mutex::new(pieces);
    let next = || pieces.lock().ok()?.next();
    let threads = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        let run = || {
            while let Some(piece) = next() {
                work(piece)?;
            }
            Ok(())
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// New memory, in huge pages where the system has them.
struct Huge {
    start: *mut u8,
    len: usize,
}

impl Huge {
    fn new(len: usize) -> Result<Self> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: the system chooses the place of a private mapping, so that no memory in use is touched.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), len, protection, flags) }?;
        let memory = Huge {
            start: start.cast(),
            len,
        };
        // SAFETY: the range is the mapping made above, and this advice changes no contents.
        unsafe { madvise(start, len, Advice::LinuxHugepage) }?;
        Ok(memory)
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: `new` mapped `len` bytes at `start`, readable, writable and zero; `self` alone owns them until it is
        // dropped, and is borrowed for as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl Drop for Huge {
    fn drop(&mut self) {
        // SAFETY: `new` mapped exactly this range, and no slice of it outlives `self`.
        let unmapped = unsafe { munmap(self.start.cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}
