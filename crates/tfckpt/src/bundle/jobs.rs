//! The bytes of variables on their way into data files: every one has its place before the first is written, so that
//! all cores write at once. Each byte is hashed while it is in the cache, right before the system copies it.

use std::borrow::Cow;
use std::ops::Range;

use super::data::{DataFiles, Place};
use crate::bytes::Crc;
use crate::dtype::DType;
use crate::error::{BoxError, Error, Result};
use crate::layout::{Moving, PIECE, pieces};
use crate::parallel::{Slots, for_each};
use crate::shape::Shape;
use crate::tensor::{Deferred, Lent};

/// Variables smaller than this are gathered into one write.
const SMALL: u64 = 256 * 1024;

/// Bytes that a thread takes on at a time.
const TASK: usize = 4 * PIECE;

/// A variable with a place.
pub(super) struct Job<'a> {
    pub(super) name: String,
    pub(super) dtype: DType,
    pub(super) shape: Shape,
    pub(super) place: Place,
    /// Bytes in the data file.
    pub(super) size: u64,
    pub(super) content: Content<'a>,
}

/// Where the bytes of a variable come from.
pub(super) enum Content<'a> {
    Bytes(Cow<'a, [u8]>, Option<Moving>),
    /// Strings or variants, whose checksum is not that of their bytes.
    Framed(Cow<'a, [u8]>, Crc),
    Lent(Lent<'a>, Option<Moving>),
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

/// Writes all variables, and gives the checksum of each.
pub(super) fn write(jobs: &[Job<'_>], files: &DataFiles, threads: usize) -> Result<Vec<Crc>> {
    let tasks = tasks(jobs);
    let run = |buffer: &mut Vec<u8>, number| match tasks.get(number) {
        Some(Task::Gather(range)) => gather(jobs, range.clone(), files, buffer),
        Some(Task::Part(job, range)) => with_job(jobs, *job, |job| part(job, range.clone(), files, buffer)),
        Some(Task::Stream(job)) => with_job(jobs, *job, |job| stream(job, files, buffer)),
        None => Ok(Vec::new()),
    };
    let mut crcs = vec![Crc::default(); jobs.len()];
    for hashed in for_each(tasks.len(), threads, Vec::new, run)?.iter().flatten() {
        if let Some(crc) = crcs.get_mut(hashed.job) {
            *crc = crc.followed_by(hashed.crc, hashed.len);
        }
    }
    for (crc, job) in crcs.iter_mut().zip(jobs) {
        if let Content::Framed(_, framed) = job.content {
            *crc = framed;
        }
    }
    Ok(crcs)
}

/// What is to be done: first what one thread has to do alone, the longest first, then the rest in the order of the
/// files.
fn tasks(jobs: &[Job<'_>]) -> Vec<Task> {
    let mut streams: Vec<usize> = Vec::new();
    let mut rest = Vec::new();
    let mut gathered: Option<(Range<usize>, u64)> = None;
    for (number, job) in jobs.iter().enumerate() {
        if job.size < SMALL {
            let joins = |(range, bytes): &(Range<usize>, u64)| {
                let first = jobs.get(range.start).map(|first| first.place.shard);
                first == Some(job.place.shard) && range.end == number && bytes + job.size <= PIECE as u64
            };
            gathered = match gathered.take() {
                Some(some) if joins(&some) => Some((some.0.start..number + 1, some.1 + job.size)),
                before => {
                    rest.extend(before.map(|(range, _)| Task::Gather(range)));
                    Some((number..number + 1, job.size))
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
        let step = (TASK / unit).max(1) * unit;
        let size = usize::try_from(job.size).unwrap_or(usize::MAX);
        let starts = (0..size).step_by(step);
        rest.extend(starts.map(|start| Task::Part(number, start..size.min(start.saturating_add(step)))));
    }
    rest.extend(gathered.map(|(range, _)| Task::Gather(range)));
    streams.sort_by_key(|&number| std::cmp::Reverse(jobs.get(number).map(|job| job.size)));
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
            Content::Bytes(bytes, moving) => append(job, bytes, moving.as_ref(), buffer)?,
            Content::Framed(bytes, _) => buffer.extend_from_slice(bytes),
            Content::Lent(lent, moving) => lend(job, lent, |bytes| append(job, bytes, moving.as_ref(), buffer))?,
            Content::Deferred(deferred) => produce(job, deferred, |bytes| {
                buffer.extend_from_slice(bytes);
                job.check_at_most((buffer.len() - start) as u64)
            })?,
        }
        let bytes = buffer.get(start..).unwrap_or_default();
        job.check_len(bytes.len() as u64)?;
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
    job.check_len(bytes.len() as u64)?;
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
        job.check_len(bytes.len() as u64)?;
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
        Content::Bytes(bytes, moving) => put(bytes, moving.as_ref())?,
        Content::Framed(bytes, _) => put(bytes, None)?,
        Content::Lent(lent, moving) => lend(job, lent, |bytes| put(bytes, moving.as_ref()))?,
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
    if let Content::Deferred(deferred) = &job.content {
        produce(job, deferred, |bytes| {
            job.check_at_most((done + buffer.len() + bytes.len()) as u64)?;
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
    job.check_len(done as u64)?;
    Ok((crc, done))
}

/// Looks at bytes that are lent.
fn lend(job: &Job<'_>, lent: &Lent<'_>, mut look: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut seen = false;
    through(
        job,
        |sink| lent(sink),
        |bytes| {
            // All in one call, as was asked.
            job.check_at_most(if seen { u64::MAX } else { bytes.len() as u64 })?;
            seen = true;
            look(bytes)
        },
    )?;
    match seen {
        true => Ok(()),
        false => job.check_len(0),
    }
}

/// Takes bytes as they are produced.
fn produce(job: &Job<'_>, deferred: &Slots<Deferred<'_>>, take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    match deferred.take(0) {
        Some(deferred) => through(job, deferred, take),
        None => Ok(()),
    }
}

/// Hands `take` what `give` passes on, and tells the errors of the two apart.
fn through(
    job: &Job<'_>,
    give: impl FnOnce(&mut crate::tensor::Sink<'_>) -> Result<(), BoxError>,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut failure = None;
    let given = give(&mut |bytes: &[u8]| {
        take(bytes).map_err(|error| {
            failure = Some(error);
            BoxError::from("the checkpoint could not be written")
        })
    });
    match (failure, given) {
        (Some(error), _) => Err(error),
        (None, Err(source)) => Err(Error::Source {
            name: job.name.clone(),
            source,
        }),
        (None, Ok(())) => Ok(()),
    }
}

impl Job<'_> {
    fn check_len(&self, got: u64) -> Result<()> {
        match got == self.size {
            true => Ok(()),
            false => Err(self.wrong_length(got)),
        }
    }

    /// Before more is written than there is room for: behind it lies another variable.
    fn check_at_most(&self, got: u64) -> Result<()> {
        match got <= self.size {
            true => Ok(()),
            false => Err(self.wrong_length(got)),
        }
    }

    fn wrong_length(&self, got: u64) -> Error {
        Error::WrongLength {
            name: self.name.clone(),
            dtype: self.dtype,
            shape: self.shape.clone(),
            expected: self.size,
            got,
        }
    }
}
