//! Many variables at once, on all cores, in the order of the data files.

use std::cmp::Reverse;

use super::VariableInfo;
use super::payload::is_framed;
use super::reader::{Bundle, native};
use super::source::Raw;
use crate::bytes::Crc;
use crate::error::{Error, Result};
use crate::layout::Transform;
use crate::parallel::for_each;
use crate::tensor::Element;

/// Variables smaller than this are read together with their neighbours.
const SMALL: u64 = 128 * 1024;

/// Bytes that are read together.
const WINDOW: u64 = 1 << 20;

/// Bytes between neighbours that are rather read than left out.
const GAP: u64 = 16 * 1024;

/// A variable that is to be read: see [`Bundle::read_each`] and [`Bundle::reading`].
#[derive(Debug)]
pub struct Reading<'r> {
    bundle: &'r Bundle,
    info: &'r VariableInfo,
    /// Its bytes, if they were read together with others; not checked yet.
    window: Option<(&'r dyn Raw, &'r [u8])>,
    threads: usize,
}

/// Variables that one thread reads at a time, by their numbers.
struct Group {
    numbers: Vec<usize>,
    /// What is read at once for all of them: from where, and how much.
    window: Option<(u64, u64)>,
}

impl Bundle {
    /// Reads many variables on all cores: `work` is called once for each of `variables`, with its number among them, by
    /// several threads at once and in about the order of the data files. Small variables that lie side by side are read
    /// with one system call. Gives what `work` gave, in the order of `variables`.
    ///
    /// Each thread needs 1 MiB, and what `work` takes.
    ///
    /// # Errors
    /// Those of `work`, to which those of reading are passed on. After an error nothing more is begun; of several
    /// errors, that of the variable that lies first in the data files is returned.
    pub fn read_each<T: Send, E: From<Error> + Send>(
        &self,
        variables: &[&VariableInfo],
        work: impl Fn(usize, &Reading<'_>) -> Result<T, E> + Sync,
    ) -> Result<Vec<T>, E> {
        let threads = self.limits().threads().max(1);
        let (large, groups) = self.groups(variables, threads);
        let mut done = Vec::with_capacity(variables.len());
        // A variable that would keep one core busy when all others have nothing left to do is divided.
        for number in large {
            let reading = variables.get(number).map(|info| self.reading(info, threads));
            if let Some(reading) = reading {
                done.push((number, work(number, &reading)?));
            }
        }
        let each = |buffer: &mut Vec<u8>, group: usize| -> Result<Vec<(usize, T)>, E> {
            let Some(group) = groups.get(group) else {
                return Ok(Vec::new());
            };
            let window = self.fill_window(variables, group, buffer);
            let mut done = Vec::with_capacity(group.numbers.len());
            for &number in &group.numbers {
                let Some(info) = variables.get(number) else { continue };
                let bytes = window.and_then(|(raw, start, bytes)| {
                    let at = usize::try_from(info.offset() - start).ok()?;
                    let len = usize::try_from(info.size()).ok()?;
                    Some((raw, bytes.get(at..at.checked_add(len)?)?))
                });
                done.push((number, work(number, &self.reading_within(info, bytes, 1))?));
            }
            Ok(done)
        };
        done.extend(for_each(groups.len(), threads, Vec::new, each)?.into_iter().flatten());
        done.sort_unstable_by_key(|(number, _)| *number);
        Ok(done.into_iter().map(|(_, result)| result).collect())
    }

    /// The elements of many variables, each as [`read`](Self::read) gives them, on all cores.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let run = dir.path();
    /// # tfckpt::Saver::new(run).save([("a", [1.0f32]), ("b", [2.0])].iter().map(|(name, values)| {
    /// #     tfckpt::Variable::new(*name, [1], values)
    /// # }), 1)?;
    /// let checkpoint = tfckpt::Checkpoint::open(run)?;
    /// let values: Vec<Vec<f32>> = checkpoint.read_many(["b", "a"])?;
    /// assert_eq!(values, [[2.0], [1.0]]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_many<T: Element>(&self, names: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Vec<Vec<T>>> {
        let infos = names.into_iter().map(|name| {
            let info = self.variable(name)?;
            self.check_dtype::<T>(info).map(|()| info)
        });
        let infos: Vec<&VariableInfo> = infos.collect::<Result<_>>()?;
        self.read_each(&infos, |_, reading| reading.read().map(native))
    }

    /// Checks the bytes of many variables without keeping them, on all cores. Each needs 1 MiB, the whole payload for
    /// strings, and the whole variable for a partitioned one.
    ///
    /// # Errors
    /// As [`read_into`](Self::read_into).
    pub fn verify_all(&self, variables: &[&VariableInfo]) -> Result<()> {
        self.read_each(variables, |_, reading| reading.verify()).map(drop)
    }

    /// A variable of this bundle, to be read by at most so many threads.
    pub fn reading<'r>(&'r self, variable: &'r VariableInfo, threads: usize) -> Reading<'r> {
        self.reading_within(variable, None, threads)
    }

    fn reading_within<'r>(
        &'r self,
        info: &'r VariableInfo,
        window: Option<(&'r dyn Raw, &'r [u8])>,
        threads: usize,
    ) -> Reading<'r> {
        Reading {
            bundle: self,
            info,
            window,
            threads,
        }
    }

    /// What is read by all threads together, one after the other; and what is read by one thread each.
    fn groups(&self, variables: &[&VariableInfo], threads: usize) -> (Vec<usize>, Vec<Group>) {
        let total = variables.iter().fold(0u64, |sum, info| sum.saturating_add(info.size()));
        let divided = match variables.len() < threads {
            true => 0,
            false => (total / threads as u64 / 8).max(8 << 20),
        };
        let mut order: Vec<usize> = (0..variables.len()).collect();
        let place = |&number: &usize| variables.get(number).map(|info| (info.shard(), info.offset()));
        order.sort_by_key(place);
        let is_large = |&number: &usize| {
            let info = variables.get(number);
            threads > 1 && info.is_some_and(|info| info.size() > divided)
        };
        let (mut large, rest): (Vec<usize>, Vec<usize>) = order.into_iter().partition(is_large);
        large.sort_by_key(|&number| Reverse(variables.get(number).map(|info| info.size())));

        let mut groups: Vec<Group> = Vec::new();
        let mut last_shard = None;
        for number in rest {
            let Some(info) = variables.get(number) else { continue };
            let small = info.size() < SMALL && info.pieces().is_empty() && !is_framed(info.dtype());
            let (start, end) = (info.offset(), info.offset() + info.size());
            match groups.last_mut() {
                Some(Group {
                    numbers,
                    window: Some((from, to)),
                }) if small
                    && last_shard == Some(info.shard())
                    && start <= *to + GAP
                    && end.max(*to) - *from <= WINDOW =>
                {
                    numbers.push(number);
                    *to = end.max(*to);
                }
                _ => groups.push(Group {
                    numbers: vec![number],
                    window: small.then_some((start, end)),
                }),
            }
            last_shard = Some(info.shard());
        }
        (large, groups)
    }

    /// Reads what the variables of a group have in common. `None` if that is not possible; each is then read on its
    /// own, and the error is that of the one that is at fault.
    fn fill_window<'w>(
        &'w self,
        variables: &[&VariableInfo],
        group: &Group,
        buffer: &'w mut Vec<u8>,
    ) -> Option<(&'w dyn Raw, u64, &'w [u8])> {
        let (start, end) = group.window?;
        let raw = self.source().raw()?;
        let first = variables
            .get(*group.numbers.first()?)
            .filter(|_| group.numbers.len() > 1)?;
        buffer.resize(usize::try_from(end - start).ok()?, 0);
        raw.read_at(first, buffer, start).ok()?;
        Some((raw, start, buffer.as_slice()))
    }
}

impl Reading<'_> {
    /// The variable.
    pub fn variable(&self) -> &VariableInfo {
        self.info
    }

    /// Its size in bytes, safe to allocate: as [`Bundle::checked_size`].
    ///
    /// # Errors
    /// As [`Bundle::checked_size`].
    pub fn size(&self) -> Result<usize> {
        match self.window {
            Some((_, bytes)) => Ok(bytes.len()),
            None => self.bundle.checked_size(self.info),
        }
    }

    /// Its bytes, little-endian, in a new vector; `T` only says how they are aligned, and is not compared with the dtype.
    /// Memory that nobody has touched before is read into directly.
    ///
    /// # Errors
    /// As [`Bundle::read_into`], and [`Error::InvalidArgument`] if the bytes are no whole number of elements, or for
    /// strings and variants.
    pub fn read<T: Element>(&self) -> Result<Vec<T>> {
        self.bundle.read_new(self.info, self.window, self.threads)
    }

    /// The same in the layout that `transform` gives.
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`Error::InvalidArgument`] if the transform was made for another shape.
    pub fn read_laid_out<T: Element>(&self, transform: &Transform) -> Result<Vec<T>> {
        self.bundle
            .read_laid_out_new(self.info, transform, self.window, self.threads)
    }

    /// As [`Bundle::read_into`].
    ///
    /// # Errors
    /// As [`Bundle::read_into`].
    pub fn read_into(&self, destination: &mut [u8]) -> Result<()> {
        match self.window {
            Some((raw, bytes)) if bytes.len() == destination.len() => {
                raw.check(self.info, Crc::of(bytes))?;
                destination.copy_from_slice(bytes);
                raw.to_little(self.info, destination);
                Ok(())
            }
            _ => self.bundle.read_into_by(self.info, destination, self.threads),
        }
    }

    /// As [`Bundle::read_laid_out_into`].
    ///
    /// # Errors
    /// As [`Bundle::read_into`].
    pub fn read_laid_out_into(&self, transform: &Transform, destination: &mut [u8]) -> Result<()> {
        self.bundle
            .read_laid_out_by(self.info, transform, destination, self.window, self.threads)
    }

    /// As [`Bundle::verify`].
    ///
    /// # Errors
    /// As [`Bundle::verify`].
    pub fn verify(&self) -> Result<()> {
        match self.window {
            Some((raw, bytes)) => raw.check(self.info, Crc::of(bytes)),
            None => self.bundle.verify_by(self.info, self.threads),
        }
    }
}
