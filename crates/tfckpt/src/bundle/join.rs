//! Variables in slices: joined while they are read.

use std::sync::atomic::AtomicUsize;

use super::entry::{Piece, VariableInfo};
use super::payload::Strings;
use super::region::{Region, Run, for_each_run, volume};
use super::source::Source;
use crate::error::EntryFault;
use crate::io::Blank;

/// Why slices do not make up what was asked for, or why they could not be read.
pub(super) enum JoinError {
    Fault(EntryFault),
    Read(crate::Error),
}

impl From<crate::Error> for JoinError {
    fn from(error: crate::Error) -> Self {
        JoinError::Read(error)
    }
}

impl From<EntryFault> for JoinError {
    fn from(fault: EntryFault) -> Self {
        JoinError::Fault(fault)
    }
}

type Joined<T> = std::result::Result<T, JoinError>;

/// The pieces that a region touches, each as the box that it is.
pub(super) fn touched<'p>(pieces: &'p [Piece], whole: &VariableInfo, region: &Region) -> Vec<(&'p Piece, Region)> {
    let boxed = pieces
        .iter()
        .filter_map(|piece| Some((piece, piece.slice.ranges_in(whole.shape())?)));
    let touches = |(_, ranges): &(&Piece, Region)| {
        let mut axes = ranges.iter().zip(region);
        axes.all(|(a, b)| a.start.max(b.start) < a.end.min(b.end))
    };
    boxed.filter(touches).collect()
}

/// How many bytes of elements one byte of a file may stand for: more than 1 in the V1 format alone.
pub(super) const MAX_RATIO: u64 = 8;

/// Compares what a region takes with what the files of its pieces hold in all, so that an index cannot make us
/// allocate what is nowhere.
pub(super) fn check_size(source: &dyn Source, pieces: &[(&Piece, Region)], declared: u64) -> Joined<()> {
    let mut files = std::collections::BTreeMap::new();
    for (piece, _) in pieces {
        files.insert(piece.info.shard(), source.file_len(&piece.info)?);
    }
    let available = files.values().fold(0u64, |sum, len| sum.saturating_add(*len));
    match declared / MAX_RATIO > available {
        true => Err(EntryFault::OversizedSlices { declared, available }.into()),
        false => Ok(()),
    }
}

/// Fills `destination` with the elements of `region`, row-major. Where slices overlap they must agree.
pub(super) fn read_into(
    source: &dyn Source,
    pieces: &[(&Piece, Region)],
    region: &Region,
    element_size: usize,
    destination: &mut [u8],
    threads: usize,
) -> Joined<()> {
    let mut covered = Covered::new(volume(region));
    let read = AtomicUsize::new(0);
    for (piece, ranges) in pieces {
        let mut runs = Vec::new();
        for_each_run(ranges, region, |run| runs.push(run));
        // A slice of whole rows is one run, and is read straight to its place.
        if let [run] = runs.as_slice()
            && run.len == volume(ranges)
            && covered.add(run.to, run.len)
        {
            let place = destination.get_mut(run.to * element_size..(run.to + run.len) * element_size);
            let place = Blank::over(place.unwrap_or_default(), &read);
            source.read_into(&piece.info, place, threads)?;
            continue;
        }
        let mut scatter = Scatter {
            runs: runs.into_iter(),
            run: None,
            at: 0,
            element_size,
            agrees: true,
        };
        source.for_each_chunk(&piece.info, &mut |chunk| {
            scatter.take(chunk, &mut covered, destination);
        })?;
        if !scatter.agrees {
            let slice = piece.slice.to_string();
            return Err(EntryFault::ConflictingSlices { slice }.into());
        }
    }
    covered.check()
}

/// The strings of `region`, row-major.
pub(super) fn strings(source: &dyn Source, pieces: &[(&Piece, Region)], region: &Region) -> Joined<Strings> {
    let mut elements: Vec<Option<Vec<u8>>> = vec![None; volume(region)];
    for (piece, ranges) in pieces {
        let strings = source.strings(&piece.info)?;
        let mut agrees = true;
        for_each_run(ranges, region, |run| {
            for i in 0..run.len {
                let (from, to) = (strings.get(run.from + i), elements.get_mut(run.to + i));
                let (Some(from), Some(to)) = (from, to) else { continue };
                agrees &= to.get_or_insert_with(|| from.to_vec()) == from;
            }
        });
        if !agrees {
            let slice = piece.slice.to_string();
            return Err(EntryFault::ConflictingSlices { slice }.into());
        }
    }
    let covered = elements.iter().flatten().count() as u64;
    match elements.len() as u64 == covered {
        true => Ok(elements.into_iter().flatten().collect()),
        false => Err(EntryFault::IncompleteSlices {
            covered,
            elements: elements.len() as u64,
        }
        .into()),
    }
}

/// Copies the runs of a slice out of its bytes, which come in chunks.
struct Scatter {
    runs: std::vec::IntoIter<Run>,
    /// What is left of the run that the chunk before ended in.
    run: Option<Run>,
    /// Elements seen so far.
    at: usize,
    element_size: usize,
    agrees: bool,
}

impl Scatter {
    fn take(&mut self, chunk: &[u8], covered: &mut Covered, destination: &mut [u8]) {
        let size = self.element_size;
        let end = self.at + chunk.len() / size;
        while let Some(run) = self.run.take().or_else(|| self.runs.next()) {
            if run.from >= end {
                self.run = Some(run);
                break;
            }
            let len = run.len.min(end - run.from);
            let from = (run.from - self.at) * size;
            let source = chunk.get(from..from + len * size).unwrap_or_default();
            let target = destination.get_mut(run.to * size..(run.to + len) * size);
            let target = target.unwrap_or_default();
            if covered.add(run.to, len) {
                target.copy_from_slice(source);
            } else {
                self.agrees &= covered.merge(run.to, target, source, size);
            }
            if len < run.len {
                self.run = Some(Run {
                    from: run.from + len,
                    to: run.to + len,
                    len: run.len - len,
                });
                break;
            }
        }
        self.at = end;
    }
}

/// Which elements have been filled: one bit each.
struct Covered {
    bits: Vec<u64>,
    len: usize,
    count: usize,
}

impl Covered {
    fn new(len: usize) -> Self {
        Covered {
            bits: vec![0; len.div_ceil(64)],
            len,
            count: 0,
        }
    }

    /// Takes elements `start..start + len` for filled, unless some of them are already: then nothing is changed.
    fn add(&mut self, start: usize, len: usize) -> bool {
        if self.words(start, len).any(|(word, mask)| word & mask != 0) {
            return false;
        }
        let (first, last) = (start / 64, (start + len).div_ceil(64));
        for (i, word) in self.bits.iter_mut().enumerate().take(last).skip(first) {
            *word |= mask(i, start, len);
        }
        self.count += len;
        true
    }

    /// Fills what is not filled yet; whether what is filled is the same.
    fn merge(&mut self, start: usize, target: &mut [u8], source: &[u8], size: usize) -> bool {
        let pairs = target.chunks_exact_mut(size).zip(source.chunks_exact(size));
        pairs.enumerate().fold(true, |agrees, (i, (target, source))| {
            if self.add(start + i, 1) {
                target.copy_from_slice(source);
            }
            agrees && target == source
        })
    }

    fn words(&self, start: usize, len: usize) -> impl Iterator<Item = (u64, u64)> {
        let (first, last) = (start / 64, (start + len).div_ceil(64));
        let words = self.bits.iter().enumerate().take(last).skip(first);
        words.map(move |(i, word)| (*word, mask(i, start, len)))
    }

    fn check(&self) -> Joined<()> {
        match self.count == self.len {
            true => Ok(()),
            false => Err(EntryFault::IncompleteSlices {
                covered: self.count as u64,
                elements: self.len as u64,
            }
            .into()),
        }
    }
}

/// The bits of word `i` that stand for elements `start..start + len`.
fn mask(i: usize, start: usize, len: usize) -> u64 {
    let below = |end: usize| match end.saturating_sub(i * 64) {
        bits @ 0..64 => (1u64 << bits) - 1,
        _ => u64::MAX,
    };
    below(start + len) & !below(start)
}
