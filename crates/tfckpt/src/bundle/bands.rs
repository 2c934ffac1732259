//! Variables brought into another layout while they are read: no more than a band of each is in memory at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex, OnceLock, PoisonError, RwLock};
use std::thread;

use super::VariableInfo;
use super::parallel::threads_for;
use super::source::Raw;
use crate::bytes::Crc;
use crate::error::{Error, Result};
use crate::io::Blank;
use crate::layout::{Moving, pieces};
use crate::parallel::Slots;

/// Fills `destination` with the elements of a variable, moved. The lengths are equal.
pub(super) fn read(
    raw: &dyn Raw,
    info: &VariableInfo,
    moving: &Moving,
    destination: Blank<'_>,
    threads: usize,
) -> Result<()> {
    let (unit, len) = (moving.result_unit(), destination.len());
    let threads = threads_for(len, threads).min(len / unit.max(1)).max(1);
    let part = (len / unit.max(1)).div_ceil(threads).max(1) * unit;
    let mut rest = Some(destination);
    let parts = (0..len.max(1)).step_by(part.max(1)).filter_map(|start| {
        let (first, behind) = rest.take()?.split_at(part);
        rest = Some(behind);
        Some((start, first))
    });
    let parts: Slots<(usize, Blank<'_>)> = Slots::new(parts);
    if parts.len() > 1
        && let Some(result) = by_several(raw, info, moving, len, &parts)
    {
        return result;
    }
    by_one(raw, info, moving, len, &parts)
}

fn by_one(
    raw: &dyn Raw,
    info: &VariableInfo,
    moving: &Moving,
    len: usize,
    parts: &Slots<(usize, Blank<'_>)>,
) -> Result<()> {
    let parts = (0..parts.len()).filter_map(|number| parts.take(number));
    let mut parts: Vec<(usize, &mut [u8])> = parts.map(|(to, part)| (to, part.initialised())).collect();
    let (mut crc, mut buffer) = (Crc::default(), Vec::new());
    for piece in pieces(len, moving.source_unit()) {
        buffer.resize(piece.len(), 0);
        raw.read_at(info, &mut buffer, info.offset() + piece.start as u64)?;
        crc.extend(&buffer);
        raw.to_little(info, &mut buffer);
        for (to, part) in &mut parts {
            moving.copy(piece.start, &buffer, *to, part);
        }
    }
    raw.check(info, crc)
}

/// By as many threads as there are parts of the destination. Each reads its piece of a band; when the band is there, each
/// moves from all of it what belongs into its own part. `None`, and nothing done, if the system does not give as many.
fn by_several(
    raw: &dyn Raw,
    info: &VariableInfo,
    moving: &Moving,
    len: usize,
    parts: &Slots<(usize, Blank<'_>)>,
) -> Option<Result<()>> {
    let threads = parts.len();
    let pieces: Vec<_> = pieces(len, moving.source_unit()).collect();
    let band: Vec<RwLock<(usize, Vec<u8>)>> = (0..threads).map(|_| RwLock::default()).collect();
    let (barrier, failed) = (Barrier::new(threads), AtomicBool::new(false));
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let crcs: Vec<Mutex<Vec<(Crc, usize)>>> = (0..threads).map(|_| Mutex::default()).collect();

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
        let mut hashed = hashed.lock().unwrap_or_else(PoisonError::into_inner);
        hashed.push((crc, piece.len()));
        raw.to_little(info, buffer);
        Ok(())
    };
    let work = |thread: usize| {
        // Each touches its own part for the first time.
        let part = parts.take(thread).map(|(to, part)| (to, part.initialised()));
        let (to, part) = part.unwrap_or_default();
        for first in (0..pieces.len()).step_by(threads) {
            if let Err(error) = read_piece(thread, first + thread) {
                failed.store(true, Ordering::Relaxed);
                let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                *failure = failure.take().or(Some(error));
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
    // Whether all threads are there: a barrier waits for every one of them.
    let complete = OnceLock::new();
    let (work, all_are_there) = (&work, &complete);
    let all = thread::scope(|scope| {
        let start = |thread| {
            let wait = move || {
                if *all_are_there.wait() {
                    work(thread);
                }
            };
            thread::Builder::new().spawn_scoped(scope, wait).is_ok()
        };
        let all = (1..threads).map(start).filter(|started| !started).count() == 0;
        let _ = complete.set(all);
        if all {
            work(0);
        }
        all
    });
    if !all {
        return None;
    }
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Some(Err(error));
    }
    let take = |crcs: Mutex<Vec<_>>| crcs.into_inner().unwrap_or_else(PoisonError::into_inner);
    let crcs: Vec<Vec<(Crc, usize)>> = crcs.into_iter().map(take).collect();
    let in_order = (0..pieces.len()).filter_map(|number| crcs.get(number % threads)?.get(number / threads));
    let crc = in_order.fold(Crc::default(), |whole, &(crc, len)| whole.followed_by(crc, len));
    Some(raw.check(info, crc))
}
