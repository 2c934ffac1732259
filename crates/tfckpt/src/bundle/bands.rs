//! Variables brought into another layout while they are read: no more than a band of each is in memory at a time.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread;

use super::parallel::{self, threads_for};
use super::source::Raw;
use super::{CHUNK, VariableInfo};
use crate::bytes::Crc;
use crate::error::{Error, Result};
use crate::io::{Blank, Moved};
use crate::layout::{Moving, PIECE};
use crate::parallel::Slots;

/// About the most bytes that a thread reads before they are moved.
const BAND: usize = PIECE;

/// Memory of bands. It is kept from variable to variable: touching it for the first time takes longer than reading into
/// it.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    fn buffers(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Band {
        Band {
            buffer: self.buffers().pop().unwrap_or_default(),
            place: 0..0,
        }
    }

    fn give(&self, band: Band) {
        self.buffers().push(band.buffer);
    }
}

/// Some bytes of a variable, in a buffer that may be longer.
#[derive(Debug)]
struct Band {
    buffer: Vec<u8>,
    place: Range<usize>,
}

impl Band {
    /// Reads what lies at `place` of the variable. Gives the checksum of what comes before with it.
    fn read(&mut self, raw: &dyn Raw, info: &VariableInfo, place: Range<usize>, before: Crc) -> Result<Crc> {
        if self.buffer.len() < place.len() {
            self.buffer.resize(place.len(), 0);
        }
        let bytes = self.buffer.get_mut(..place.len()).unwrap_or_default();
        let mut crc = before;
        let mut offset = info.offset() + place.start as u64;
        // Small enough to be in the cache when it is hashed.
        for chunk in bytes.chunks_mut(CHUNK) {
            raw.read_at(info, chunk, offset)?;
            crc.extend(chunk);
            raw.to_little(info, chunk);
            offset += chunk.len() as u64;
        }
        self.place = place;
        Ok(crc)
    }

    fn move_to(&self, moving: &Moving, to: usize, part: &mut Moved<'_>) {
        let bytes = self.buffer.get(..self.place.len()).unwrap_or_default();
        part.put(moving, self.place.start, bytes, to);
    }
}

/// Fills `destination` with the elements of a variable, moved. The lengths are equal.
pub(super) fn read(
    raw: &dyn Raw,
    info: &VariableInfo,
    moving: &Moving,
    destination: Blank<'_>,
    threads: usize,
    pool: &Pool,
) -> Result<()> {
    let (unit, len) = (moving.result_unit(), destination.len());
    let threads = threads_for(len, threads).min(len / unit.max(1)).max(1);
    let start = destination.address();
    let parts = Slots::new(destination.parts(parallel::part_len(len, threads, unit)));
    if parts.len() > 1
        && let Some(result) = by_several(
            raw,
            info,
            moving.bands(len, BAND, start).collect(),
            moving,
            &parts,
            pool,
        )
    {
        return result;
    }
    by_one(raw, info, moving, len, &parts, pool)
}

fn by_one(
    raw: &dyn Raw,
    info: &VariableInfo,
    moving: &Moving,
    len: usize,
    parts: &Slots<(usize, Blank<'_>)>,
    pool: &Pool,
) -> Result<()> {
    let parts = (0..parts.len()).filter_map(|number| parts.take(number));
    let parts: Vec<(usize, Blank<'_>)> = parts.collect();
    let start = parts.first().map_or(0, |(_, part)| part.address());
    let mut parts: Vec<(usize, Moved<'_>)> = parts.into_iter().map(|(to, part)| (to, part.into_moved())).collect();
    let (mut crc, mut band) = (Crc::default(), pool.take());
    for piece in moving.bands(len, BAND, start) {
        crc = band.read(raw, info, piece, crc)?;
        for (to, part) in &mut parts {
            band.move_to(moving, *to, part);
        }
    }
    pool.give(band);
    raw.check(info, crc)
}

/// By as many threads as there are parts of the destination. Each reads its piece of a band; when the band is there, each
/// moves from all of it what belongs into its own part. `None`, and nothing done, if the system does not give as many.
fn by_several(
    raw: &dyn Raw,
    info: &VariableInfo,
    pieces: Vec<Range<usize>>,
    moving: &Moving,
    parts: &Slots<(usize, Blank<'_>)>,
    pool: &Pool,
) -> Option<Result<()>> {
    let threads = parts.len();
    let bands: Vec<RwLock<Band>> = (0..threads).map(|_| RwLock::new(pool.take())).collect();
    let (barrier, failed) = (Barrier::new(threads), AtomicBool::new(false));
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let crcs: Vec<Mutex<Vec<(Crc, usize)>>> = (0..threads).map(|_| Mutex::default()).collect();

    let read_piece = |thread: usize, number: usize| -> Result<()> {
        let (Some(band), Some(hashed)) = (bands.get(thread), crcs.get(thread)) else {
            return Ok(());
        };
        let piece = pieces.get(number).cloned().unwrap_or_default();
        let len = piece.len();
        let mut band = band.write().unwrap_or_else(PoisonError::into_inner);
        let crc = band.read(raw, info, piece, Crc::default())?;
        hashed.lock().unwrap_or_else(PoisonError::into_inner).push((crc, len));
        Ok(())
    };
    let work = |thread: usize| {
        // Each touches its own part for the first time.
        let mut part = parts.take(thread).map(|(to, part)| (to, part.into_moved()));
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
            for band in &bands {
                let band = band.read().unwrap_or_else(PoisonError::into_inner);
                if let Some((to, part)) = &mut part {
                    band.move_to(moving, *to, part);
                }
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
    for band in bands {
        pool.give(band.into_inner().unwrap_or_else(PoisonError::into_inner));
    }
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
