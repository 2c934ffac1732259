//! Variables brought into another layout while they are read: no more than a band of each is in memory at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex, OnceLock, PoisonError, RwLock};
use std::thread;

use super::VariableInfo;
use super::parallel::threads_for;
use super::source::Raw;
use crate::bytes::Crc;
use crate::error::{Error, Result};
use crate::layout::{Moving, pieces};

/// Fills `destination` with the elements of a variable, moved. The lengths are equal.
pub(super) fn read(
    raw: &dyn Raw,
    info: &VariableInfo,
    moving: &Moving,
    destination: &mut [u8],
    threads: usize,
) -> Result<()> {
    let (unit, len) = (moving.result_unit(), destination.len());
    let threads = threads_for(len, threads).min(len / unit.max(1));
    if threads > 1
        && let Some(result) = by_several(raw, info, moving, destination, threads)
    {
        return result;
    }
    let mut crc = Crc::default();
    let mut buffer = Vec::new();
    for piece in pieces(len, moving.source_unit()) {
        buffer.resize(piece.len(), 0);
        raw.read_at(info, &mut buffer, info.offset() + piece.start as u64)?;
        crc.extend(&buffer);
        raw.to_little(info, &mut buffer);
        moving.copy(piece.start, &buffer, 0, destination);
    }
    raw.check(info, crc)
}

/// The same by several threads. Each reads its piece of a band; when the band is there, each moves from all of it what
/// belongs into its own part of the destination. `None` if the system does not give that many threads.
fn by_several(
    raw: &dyn Raw,
    info: &VariableInfo,
    moving: &Moving,
    destination: &mut [u8],
    threads: usize,
) -> Option<Result<()>> {
    let (unit, len) = (moving.result_unit(), destination.len());
    let part = (len / unit).div_ceil(threads) * unit;
    let parts: Vec<(usize, &mut [u8])> = (0..len).step_by(part).zip(destination.chunks_mut(part)).collect();
    let pieces: Vec<_> = pieces(len, moving.source_unit()).collect();
    let threads = parts.len();

    let band: Vec<RwLock<(usize, Vec<u8>)>> = (0..threads).map(|_| RwLock::default()).collect();
    let (barrier, failed) = (Barrier::new(threads), AtomicBool::new(false));
    let failure = Mutex::new(None);
    let crcs: Vec<Mutex<Vec<(Crc, usize)>>> = (0..threads).map(|_| Mutex::default()).collect();
    // Whether all threads are there: a barrier waits for every one of them.
    let complete = OnceLock::new();

    let read_piece = |thread: usize, number: usize| -> Result<()> {
        let (Some(slot), Some(hashed)) = (band.get(thread), crcs.get(thread)) else {
            return Ok(());
        };
        let mut slot = slot.write().unwrap_or_else(PoisonError::into_inner);
        let (start, buffer) = &mut *slot;
        let piece = pieces.get(number).cloned().unwrap_or_default();
        *start = piece.start;
        buffer.resize(piece.len(), 0);
        raw.read_at(info, buffer, info.offset() + piece.start as u64)?;
        let crc = Crc::of(buffer);
        hashed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((crc, piece.len()));
        raw.to_little(info, buffer);
        Ok(())
    };
    let work = |thread: usize, (to, part): (usize, &mut [u8])| {
        for first in (0..pieces.len()).step_by(threads) {
            if let Err(error) = read_piece(thread, first + thread) {
                failed.store(true, Ordering::Relaxed);
                let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                let _: &mut Error = failure.get_or_insert(error);
            }
            barrier.wait();
            if failed.load(Ordering::Relaxed) {
                break;
            }
            for slot in &band {
                let slot = slot.read().unwrap_or_else(PoisonError::into_inner);
                moving.copy(slot.0, &slot.1, to, part);
            }
            barrier.wait();
        }
    };
    let (work, complete_ref) = (&work, &complete);
    let all = thread::scope(|scope| {
        let mut parts = parts.into_iter().enumerate();
        let own = parts.next();
        let start = |(thread, part)| {
            let wait = move || {
                if *complete_ref.wait() {
                    work(thread, part);
                }
            };
            thread::Builder::new().spawn_scoped(scope, wait).is_ok()
        };
        let all = parts.map(start).filter(|started| !started).count() == 0;
        let _ = complete.set(all);
        if let (true, Some((thread, part))) = (all, own) {
            work(thread, part);
        }
        all
    });
    if !all {
        return None;
    }
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Some(Err(error));
    }
    let crcs: Vec<Vec<_>> = crcs
        .into_iter()
        .map(|crcs| crcs.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect();
    let in_order = (0..pieces.len()).filter_map(|number| crcs.get(number % threads)?.get(number / threads));
    let crc = in_order.fold(Crc::default(), |whole, &(crc, len)| whole.followed_by(crc, len));
    Some(raw.check(info, crc))
}
