//! A copy of the state of a model, at the speed of memory: for a save that goes on while the model is trained.

use std::borrow::Cow;
use std::sync::Arc;

use super::spec::{Spec, lend, produce};
use crate::error::{Error, Result};
use crate::io::zeroed;
use crate::layout::PIECE;
use crate::parallel::{Slots, for_each};
use crate::tensor::{Deferred, Lent, Payload, Variable};

/// Variables start at multiples of this: a cache line.
const ALIGN: usize = 64;

/// Bytes that a thread copies at a time.
const TASK: usize = 4 * PIECE;

/// Memory that copies are made in. It is kept from one copy to the next, so that its pages are there already.
#[derive(Debug, Default)]
pub(crate) struct Arena(Vec<u8>);

/// Some bytes of a variable, and where they go.
struct Task<'a, 's> {
    spec: &'s Spec,
    source: &'s Source<'a>,
    start: usize,
    destination: &'s mut [u8],
}

/// Where the bytes of a variable come from.
enum Source<'a> {
    Bytes(Cow<'a, [u8]>),
    Lent(Lent<'a>),
    Deferred(Slots<Deferred<'a>>),
}

impl Arena {
    /// Bytes of memory that it holds.
    pub(crate) fn capacity(&self) -> u64 {
        self.0.len() as u64
    }

    /// The memory that a copy of `variables` needs. What they own is not copied.
    pub(crate) fn needed(variables: &[Variable<'_>]) -> u64 {
        let copied = variables.iter().filter(|variable| {
            let owned = matches!(variable.payload, Payload::Strings(_) | Payload::Bytes(Cow::Owned(_)));
            !owned
        });
        copied.fold(0u64, |sum, variable| {
            let len = variable.payload.len().or_else(|| variable.byte_len());
            sum.saturating_add(len.unwrap_or(0).saturating_add(ALIGN as u64))
        })
    }

    /// Copies the bytes of all variables, on so many threads, in the layout that they have in memory: they are laid out
    /// for the checkpoint when they are written. The arena comes back when the copies are dropped and
    /// [`reclaimed`](Self::reclaim).
    pub(crate) fn copy(
        mut self,
        variables: Vec<Variable<'_>>,
        threads: usize,
    ) -> Result<(Vec<Variable<'static>>, Arc<Arena>)> {
        let len = usize::try_from(Self::needed(&variables));
        let len = len.map_err(|_| Error::invalid("the state is larger than the memory"))?;
        if self.0.len() < len {
            // The old memory first: both need not fit.
            self.0 = Vec::new();
            self.0 = zeroed(len);
        }
        let mut copies: Vec<(Variable<'static>, Option<usize>)> = Vec::with_capacity(variables.len());
        let mut sources = Vec::new();
        for variable in variables {
            let size = variable.payload.len().or_else(|| variable.byte_len()).unwrap_or(0);
            let spec = Spec {
                name: variable.key().to_vec(),
                dtype: variable.dtype(),
                shape: variable.shape().clone(),
                size,
            };
            let (payload, rest) = variable.split();
            let source = match payload {
                Payload::Bytes(Cow::Owned(bytes)) => {
                    copies.push((rest.with(Payload::Bytes(Cow::Owned(bytes))), None));
                    continue;
                }
                Payload::Strings(elements) => {
                    let owned = elements.into_iter().map(|element| Cow::Owned(element.into_owned()));
                    copies.push((rest.with(Payload::Strings(owned.collect())), None));
                    continue;
                }
                Payload::Bytes(bytes) => Source::Bytes(bytes),
                Payload::Lent(lent) => Source::Lent(lent),
                Payload::Deferred(deferred) => Source::Deferred(Slots::new([deferred])),
            };
            copies.push((rest, Some(sources.len())));
            sources.push((spec, source));
        }
        let ranges = fill(&mut self.0, &sources, threads)?;

        let arena = Arc::new(self);
        let lent = |(variable, source): (Variable<'static>, Option<usize>)| {
            let Some(range) = source.and_then(|source| ranges.get(source).cloned()) else {
                return variable;
            };
            let arena = arena.clone();
            variable.with(Payload::Lent(Box::new(move |sink| {
                sink(arena.0.get(range.clone()).unwrap_or_default())
            })))
        };
        let copies = copies.into_iter().map(lent).collect();
        Ok((copies, arena))
    }

    /// The memory, once nothing refers to it any more.
    pub(crate) fn reclaim(arena: Arc<Arena>) -> Option<Arena> {
        Arc::into_inner(arena)
    }
}

/// Copies everything, each variable to a place of its own. The places.
fn fill(mut memory: &mut [u8], sources: &[(Spec, Source<'_>)], threads: usize) -> Result<Vec<std::ops::Range<usize>>> {
    let (mut ranges, mut tasks, mut at) = (Vec::with_capacity(sources.len()), Vec::new(), 0);
    for (spec, source) in sources {
        let size = usize::try_from(spec.size).unwrap_or(usize::MAX);
        let Some((place, rest)) = memory.split_at_mut_checked(size.next_multiple_of(ALIGN)) else {
            return Err(Error::invalid("the state grew while it was copied"));
        };
        memory = rest;
        ranges.push(at..at + size);
        at += place.len();
        let place = place.get_mut(..size).unwrap_or_default();
        let at_once = match source {
            Source::Deferred(_) => size.max(1),
            _ => TASK,
        };
        // One task at least, which looks at the length.
        if place.is_empty() {
            let destination = place;
            tasks.push(Task {
                spec,
                source,
                start: 0,
                destination,
            });
            continue;
        }
        for (start, destination) in (0..).step_by(at_once).zip(place.chunks_mut(at_once)) {
            tasks.push(Task {
                spec,
                source,
                start,
                destination,
            });
        }
    }
    let tasks = Slots::new(tasks);
    for_each(
        tasks.len(),
        threads,
        || (),
        |(), number| tasks.take(number).map_or(Ok(()), Task::run),
    )?;
    Ok(ranges)
}

impl Task<'_, '_> {
    fn run(self) -> Result<()> {
        let Task {
            spec,
            source,
            start,
            destination,
        } = self;
        let mut take = |bytes: &[u8]| {
            spec.check_len(bytes.len() as u64)?;
            let part = bytes.get(start..start + destination.len()).unwrap_or_default();
            destination.copy_from_slice(part);
            Ok(())
        };
        match source {
            Source::Bytes(bytes) => take(bytes),
            Source::Lent(lent) => lend(spec, lent, take),
            Source::Deferred(deferred) => {
                let Some(deferred) = deferred.take(0) else {
                    return Ok(());
                };
                let mut done = 0;
                produce(spec, deferred, |bytes| {
                    let end = done + bytes.len();
                    let Some(place) = destination.get_mut(done..end) else {
                        return Err(spec.wrong_length(end as u64));
                    };
                    place.copy_from_slice(bytes);
                    done = end;
                    Ok(())
                })?;
                spec.check_len(done as u64)
            }
        }
    }
}
