//! The bytes of variables on their way into data files: every one has its place before the first is written, so that
//! all cores write at once. Each byte is hashed while it is in the cache, right before the system copies it.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::data::{DataFiles, Place};
use super::spec::{Spec, lend, produce};
use crate::bytes::Crc;
use crate::error::{Error, Result};
use crate::layout::{Moving, PIECE, pieces, whole_units};
use crate::parallel::{Slots, for_each};
use crate::shape::Shape;
use crate::slice::Slice;
use crate::tensor::{Deferred, Lent};

/// Variables smaller than this are gathered into one write.
const SMALL: u64 = 256 * 1024;

/// Bytes that a thread takes on at a time.
const TASK: usize = 4 * PIECE;

/// A variable with a place.
pub(super) struct Job<'a> {
    pub(super) spec: Spec,
    /// Of a partitioned variable: the shape of the whole, and which part this is.
    pub(super) part: Option<Box<(Shape, Slice)>>,
    pub(super) place: Place,
    pub(super) content: Content<'a>,
}

/// Where the bytes of a variable come from.
pub(super) enum Content<'a> {
    Bytes(Cow<'a, [u8]>, Option<Box<Moving>>),
    /// Strings or variants, whose checksum is not that of their bytes.
    Framed(Cow<'a, [u8]>, Crc),
    Lent(Lent<'a>, Option<Box<Moving>>),
    Deferred(Slots<Deferred<'a>>),
}

/// What one thread does at a time.
enum Task {
    /// Small variables that lie one behind the other.
    Gather(Range<usize>),
    /// A part of a variable whose bytes are all there.
    Part(usize, Range<usize>),
    /// A variable whose bytes come one after the other.
    Stream(usize),
}

/// The checksum of some bytes of a variable, in the order of the tasks.
struct Hashed {
    job: usize,
    crc: Crc,
    len: usize,
}

/// With fewer variables than this there is nothing to be gained from doing something else at the same time.
const MANY: usize = 1000;

/// Writes all variables, and does something else meanwhile, or before. Gives what that gave, and the checksum of each variable.
pub(super) fn write_beside<T: Send>(
    jobs: &[Job<'_>],
    files: &DataFiles,
    threads: usize,
    other: impl FnOnce() -> Result<T> + Send,
) -> Result<(T, Vec<Crc>)> {
    let (mut given, mut other) = (None, Some(other));
    if threads < 2 || jobs.len() < MANY {
        given = other.take().map(|other| other()).transpose()?;
    }
    let tasks = tasks(jobs);
    let (waiting, told) = (Slots::new(other), Mutex::new(given));
    // What else there is comes first.
    let before = waiting.len();
    let run = |buffer: &mut Vec<u8>, number: usize| {
        if let Some(other) = waiting.take(number) {
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(other()?);
            return Ok(Vec::new());
        }
        match number.checked_sub(before).and_then(|number| tasks.get(number)) {
            Some(Task::Gather(range)) => gather(jobs, range.clone(), files, buffer),
            Some(Task::Part(job, range)) => with_job(jobs, *job, |job| part(job, range.clone(), files, buffer)),
            Some(Task::Stream(job)) => with_job(jobs, *job, |job| stream(job, files, buffer)),
            None => Ok(Vec::new()),
        }
    };
    let mut crcs = vec![Crc::default(); jobs.len()];
    for hashed in for_each(before + tasks.len(), threads, Vec::new, run)?.iter().flatten() {
        if let Some(crc) = crcs.get_mut(hashed.job) {
            *crc = crc.followed_by(hashed.crc, hashed.len);
        }
    }
    for (crc, job) in crcs.iter_mut().zip(jobs) {
        if let Content::Framed(_, framed) = job.content {
            *crc = framed;
        }
    }
    let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
    let told = told.ok_or_else(|| Error::invalid("what was to be done beside writing was not done"))?;
    Ok((told, crcs))
}

/// What is to be done: first what one thread has to do alone, the longest first, then the rest in the order of the
/// files.
fn tasks(jobs: &[Job<'_>]) -> Vec<Task> {
    let mut streams: Vec<usize> = Vec::new();
    let mut rest = Vec::new();
    let mut gathered: Option<(Range<usize>, u64)> = None;
    for (number, job) in jobs.iter().enumerate() {
        if job.spec.size < SMALL {
            let joins = |(range, bytes): &(Range<usize>, u64)| {
                let first = jobs.get(range.start).map(|first| first.place.shard);
                first == Some(job.place.shard) && range.end == number && bytes + job.spec.size <= PIECE as u64
            };
            gathered = match gathered.take() {
                Some(some) if joins(&some) => Some((some.0.start..number + 1, some.1 + job.spec.size)),
                before => {
                    rest.extend(before.map(|(range, _)| Task::Gather(range)));
                    Some((number..number + 1, job.spec.size))
                }
            };
            continue;
        }
        rest.extend(gathered.take().map(|(range, _)| Task::Gather(range)));
        let unit = match &job.content {
            Content::Deferred(_) => {
                streams.push(number);
                continue;
            }
            Content::Bytes(_, Some(moving)) | Content::Lent(_, Some(moving)) => moving.result_unit(),
            _ => 1,
        };
        let step = whole_units(TASK, unit);
        let size = usize::try_from(job.spec.size).unwrap_or(usize::MAX);
        let starts = (0..size).step_by(step);
        rest.extend(starts.map(|start| Task::Part(number, start..size.min(start.saturating_add(step)))));
    }
    rest.extend(gathered.map(|(range, _)| Task::Gather(range)));
    streams.sort_by_key(|&number| std::cmp::Reverse(jobs.get(number).map(|job| job.spec.size)));
    streams.into_iter().map(Task::Stream).chain(rest).collect()
}

fn with_job(
    jobs: &[Job<'_>],
    number: usize,
    work: impl FnOnce(&Job<'_>) -> Result<(Crc, usize)>,
) -> Result<Vec<Hashed>> {
    let Some(job) = jobs.get(number) else {
        return Ok(Vec::new());
    };
    let (crc, len) = work(job)?;
    Ok(vec![Hashed { job: number, crc, len }])
}

/// Several small variables in one write.
fn gather(jobs: &[Job<'_>], range: Range<usize>, files: &DataFiles, buffer: &mut Vec<u8>) -> Result<Vec<Hashed>> {
    buffer.clear();
    let mut hashed = Vec::with_capacity(range.len());
    let some = jobs.get(range.clone()).unwrap_or_default();
    for (number, job) in range.zip(some) {
        let start = buffer.len();
        match &job.content {
            Content::Bytes(bytes, moving) => append(job, bytes, moving.as_deref(), buffer)?,
            Content::Framed(bytes, _) => buffer.extend_from_slice(bytes),
            Content::Lent(lent, moving) => {
                lend(&job.spec, lent, |bytes| append(job, bytes, moving.as_deref(), buffer))?
            }
            Content::Deferred(deferred) => {
                let Some(deferred) = deferred.take(0) else { continue };
                produce(&job.spec, deferred, |bytes| {
                    buffer.extend_from_slice(bytes);
                    job.spec.check_at_most((buffer.len() - start) as u64)
                })?;
            }
        }
        let bytes = buffer.get(start..).unwrap_or_default();
        job.spec.check_len(bytes.len() as u64)?;
        hashed.push(Hashed {
            job: number,
            crc: Crc::of(bytes),
            len: bytes.len(),
        });
    }
    if let Some(first) = some.first() {
        files.write(buffer, first.place)?;
        files.written(first.place, buffer.len() as u64);
    }
    Ok(hashed)
}

fn append(job: &Job<'_>, bytes: &[u8], moving: Option<&Moving>, buffer: &mut Vec<u8>) -> Result<()> {
    job.spec.check_len(bytes.len() as u64)?;
    match moving {
        None => buffer.extend_from_slice(bytes),
        Some(moving) => {
            let start = buffer.len();
            buffer.resize(start + bytes.len(), 0);
            moving.copy(0, bytes, 0, buffer.get_mut(start..).unwrap_or_default());
        }
    }
    Ok(())
}

/// A part of a large variable.
fn part(job: &Job<'_>, range: Range<usize>, files: &DataFiles, buffer: &mut Vec<u8>) -> Result<(Crc, usize)> {
    let mut crc = Crc::default();
    let mut put = |bytes: &[u8], moving: Option<&Moving>| {
        job.spec.check_len(bytes.len() as u64)?;
        let unit = moving.map_or(1, Moving::result_unit);
        for piece in pieces(range.len(), unit) {
            let piece = range.start + piece.start..range.start + piece.end;
            let place = job.place.after(piece.start);
            let bytes = match moving {
                None => bytes.get(piece).unwrap_or_default(),
                Some(moving) => {
                    buffer.resize(piece.len(), 0);
                    moving.copy(0, bytes, piece.start, buffer);
                    buffer.as_slice()
                }
            };
            crc.extend(bytes);
            files.write(bytes, place)?;
        }
        Ok(())
    };
    match &job.content {
        Content::Bytes(bytes, moving) => put(bytes, moving.as_deref())?,
        Content::Framed(bytes, _) => put(bytes, None)?,
        Content::Lent(lent, moving) => lend(&job.spec, lent, |bytes| put(bytes, moving.as_deref()))?,
        Content::Deferred(_) => {}
    }
    files.written(job.place.after(range.start), range.len() as u64);
    Ok((crc, range.len()))
}

/// A large variable that is produced from its first byte to its last.
fn stream(job: &Job<'_>, files: &DataFiles, buffer: &mut Vec<u8>) -> Result<(Crc, usize)> {
    buffer.clear();
    let (mut crc, mut done, mut synced) = (Crc::default(), 0, 0);
    let mut put = |bytes: &[u8], done: &mut usize| {
        for piece in bytes.chunks(PIECE) {
            crc.extend(piece);
            files.write(piece, job.place.after(*done))?;
            *done += piece.len();
        }
        if *done - synced >= TASK {
            files.written(job.place.after(synced), (*done - synced) as u64);
            synced = *done;
        }
        Ok(())
    };
    if let Content::Deferred(deferred) = &job.content
        && let Some(deferred) = deferred.take(0)
    {
        produce(&job.spec, deferred, |bytes| {
            job.spec.check_at_most((done + buffer.len() + bytes.len()) as u64)?;
            // Small pieces are gathered; large ones are written from where they are.
            if buffer.is_empty() && bytes.len() as u64 >= SMALL {
                return put(bytes, &mut done);
            }
            buffer.extend_from_slice(bytes);
            if buffer.len() >= PIECE {
                put(buffer, &mut done)?;
                buffer.clear();
            }
            Ok(())
        })?;
    }
    put(buffer, &mut done)?;
    job.spec.check_len(done as u64)?;
    Ok((crc, done))
}
