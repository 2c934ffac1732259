//! Destinations that nobody has touched before: a vector that is read from a file need not be zeroed first.
//!
//! The first touch of memory costs more than reading a file that is in the page cache: zeroing a vector touches it
//! before huge pages could be asked for, and moves every byte once more.

use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::ReadAt;
use super::system::{advise_huge_pages, populate};
use crate::bytes::unwritten;
use crate::layout::Moving;
use crate::tensor::Element;

/// Zeroed memory for a large destination, in huge pages where the system has them: a page is then touched for the first
/// time once in 2 MiB.
pub fn zeroed<T: Element>(len: usize) -> Vec<T> {
    // New memory is zero as it comes from the system: it is not touched here.
    let mut memory: Vec<T> = bytemuck::zeroed_vec(len);
    advise_huge_pages(&mut memory);
    memory
}

/// Elements whose bytes `fill` puts there, all of them; `None` if it left some out.
pub(crate) fn filled<T: Element, E>(
    len: usize,
    fill: impl FnOnce(Blank<'_>) -> Result<(), E>,
) -> Result<Option<Vec<T>>, E> {
    let mut memory = Vec::<T>::with_capacity(len);
    let elements = memory.spare_capacity_mut().get_mut(..len).unwrap_or_default();
    let bytes = unwritten::cast(elements).unwrap_or_default();
    advise_huge_pages(bytes);
    let (count, needed) = (AtomicUsize::new(0), bytes.len());
    fill(Blank {
        bytes,
        count: &count,
        touched: false,
    })?;
    if count.into_inner() != needed {
        return Ok(None);
    }
    #[allow(
        unsafe_code,
        reason = "a vector's length cannot be set otherwise without touching its elements"
    )]
    // SAFETY: the capacity is `len` at least. A `Blank` counts its bytes only when they are initialised, it is consumed
    // by that, and parts of one do not overlap; a `Moved` counts what is moved to it, which no other byte of the source
    // is, and takes each byte of that once. As many as there are were counted, so that each of them is initialised. Any
    // bytes are an element, which `Pod` says.
    unsafe {
        memory.set_len(len);
    }
    Ok(Some(memory))
}

/// Bytes to be filled, each once.
#[derive(Debug)]
pub(crate) struct Blank<'b> {
    bytes: &'b mut [MaybeUninit<u8>],
    /// Bytes filled so far, in all parts.
    count: &'b AtomicUsize,
    /// Whether they are initialised all the same, so that the system has memory for them.
    touched: bool,
}

impl<'b> Blank<'b> {
    /// Bytes that were touched before, to be overwritten. How many have been is counted in `count`.
    pub(crate) fn over(bytes: &'b mut [u8], count: &'b AtomicUsize) -> Self {
        Blank {
            bytes: unwritten::over(bytes),
            count,
            touched: true,
        }
    }

    /// Where they begin.
    pub(crate) fn address(&self) -> usize {
        self.bytes.as_ptr().addr()
    }

    /// The number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// All bytes in parts of `len`, the last perhaps shorter, each with where it begins.
    pub(crate) fn parts(self, len: usize) -> impl Iterator<Item = (usize, Self)> {
        let Blank { bytes, count, touched } = self;
        let part = move |bytes| Blank { bytes, count, touched };
        (0..).step_by(len.max(1)).zip(bytes.chunks_mut(len.max(1)).map(part))
    }

    /// Reads all bytes from `offset` of a file.
    ///
    /// # Errors
    /// As [`ReadAt::read_exact_at`].
    pub(crate) fn read_at(mut self, file: &dyn ReadAt, offset: u64) -> io::Result<&'b mut [u8]> {
        self.map();
        let (start, len) = (self.bytes.as_ptr(), self.bytes.len());
        let read = file.read_new_at(self.bytes, offset)?;
        // A storage that gives other memory than it was given has not filled this one.
        if read.as_ptr() != start.cast() || read.len() != len {
            return Err(io::Error::other("a file was read into other memory than was asked for"));
        }
        self.count.fetch_add(len, Ordering::Relaxed);
        Ok(read)
    }

    /// Copies all bytes from `source`; does nothing if it has another length.
    pub(crate) fn copy_from(self, source: &[u8]) -> &'b mut [u8] {
        if source.len() != self.bytes.len() {
            return &mut [];
        }
        self.count.fetch_add(source.len(), Ordering::Relaxed);
        self.bytes.write_copy_of_slice(source)
    }

    /// For bytes that come in the order of the file and go to other places.
    pub(crate) fn into_moved(mut self) -> Moved<'b> {
        self.map();
        Moved { blank: self, next: 0 }
    }

    /// All bytes, for those who fill them in no order: whatever they were, or zero.
    pub(crate) fn initialised(mut self) -> &'b mut [u8] {
        self.map();
        self.count.fetch_add(self.bytes.len(), Ordering::Relaxed);
        if !self.touched {
            return zero(self.bytes);
        }
        #[allow(
            unsafe_code,
            reason = "what `over` took for uninitialised is seen again as what it is"
        )]
        // SAFETY: `over` made it of initialised bytes, from which nothing takes their values.
        unsafe {
            self.bytes.assume_init_mut()
        }
    }

    /// Has the system give memory for all bytes in one call, and not page by page as they are touched.
    fn map(&mut self) {
        if !self.touched {
            populate(self.bytes);
        }
    }
}

/// Bytes that are filled from a source that is moved into another layout, from its first byte to its last.
#[derive(Debug)]
pub(crate) struct Moved<'b> {
    blank: Blank<'b>,
    /// Where in the source the next bytes begin.
    next: usize,
}

impl Moved<'_> {
    /// Moves what belongs here of bytes that lie at `from` of the source; these bytes are those from `to` on of the
    /// result. Does nothing if it is not the turn of those, so that none is ever moved, and counted, twice.
    pub(crate) fn put(&mut self, moving: &Moving, from: usize, source: &[u8], to: usize) {
        if from == self.next {
            self.next += source.len();
            let moved = moving.copy_new(from, source, to, self.blank.bytes);
            self.blank.count.fetch_add(moved, Ordering::Relaxed);
        }
    }
}

/// Bytes that are zero from now on.
pub(super) fn zero(bytes: &mut [MaybeUninit<u8>]) -> &mut [u8] {
    bytes.fill(MaybeUninit::new(0));
    #[allow(unsafe_code, reason = "filling is not known to initialise")]
    // SAFETY: each byte was just written.
    unsafe {
        bytes.assume_init_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::io::{MemoryDir, Storage};
    use crate::layout::Layout;

    #[test]
    fn memory_is_zero_whatever_its_size() {
        for len in [0, 1, 1000, (1 << 18) + 3, 3 << 20] {
            let mut memory: Vec<u32> = zeroed(len);
            assert_eq!(memory.len(), len);
            assert!(memory.iter().all(|&word| word == 0));
            memory.fill(7);
        }
    }

    #[test]
    fn a_vector_is_given_only_when_all_of_it_was_filled() {
        let dir = MemoryDir::new();
        dir.insert("f", [1u8, 2, 3, 4, 5, 6, 7, 8].as_slice());
        let file = dir.open("f").unwrap();
        let both = |blank: Blank<'_>| {
            let parts: Vec<_> = blank.parts(3).collect();
            let read = |(start, part): (usize, Blank<'_>)| part.read_at(file.as_ref(), start as u64).map(drop);
            parts.into_iter().rev().try_for_each(read)
        };
        let read: Vec<u32> = filled(2, both).unwrap().unwrap();
        assert_eq!(read, [0x0403_0201, 0x0807_0605].map(u32::from_le));
        let half = |blank: Blank<'_>| {
            let (_, first) = blank.parts(4).next().unwrap();
            first.read_at(file.as_ref(), 0).map(drop)
        };
        assert_eq!(filled::<u32, _>(2, half).unwrap(), None);
        let other = |blank: Blank<'_>| {
            blank.copy_from(&[1; 7]);
            Ok::<_, io::Error>(())
        };
        assert_eq!(filled::<u32, _>(2, other).unwrap(), None);
        let moving = Layout::Permuted(&[1, 0]).to_model(&[2, 2]).unwrap();
        let moving = moving.for_variable("v", DType::Uint32, 16).unwrap().unwrap();
        let source: Vec<u8> = (0..16).collect();
        let turns = |turns: [usize; 2]| {
            filled::<u32, ()>(4, |blank| {
                let mut moved = blank.into_moved();
                for at in turns {
                    moved.put(&moving, at, &source[at..at + 8], 0);
                }
                Ok(())
            })
        };
        let expected = [0x0302_0100, 0x0b0a_0908, 0x0706_0504, 0x0f0e_0d0c].map(u32::from_le);
        assert_eq!(turns([0, 8]).unwrap().as_deref(), Some(expected.as_slice()));
        assert_eq!(turns([0, 0]).unwrap(), None, "the same twice");
        assert_eq!(turns([8, 0]).unwrap(), None, "in another order");
        assert!(filled::<u32, _>(3, |blank| blank.read_at(file.as_ref(), 0).map(drop)).is_err());
    }

    #[test]
    fn memory_that_was_there_is_overwritten() {
        let (mut memory, count) = ([9u8; 4], AtomicUsize::new(0));
        let mut parts = Blank::over(&mut memory, &count).parts(3).map(|(_, part)| part);
        parts.next().unwrap().copy_from(&[1, 2, 3]);
        assert_eq!(parts.next().unwrap().initialised(), [9]);
        assert!(parts.next().is_none());
        drop(parts);
        assert_eq!((memory, count.into_inner()), ([1, 2, 3, 9], 4));
        let read = filled::<u8, ()>(3, |blank| {
            assert_eq!(blank.initialised(), [0; 3]);
            Ok(())
        });
        assert_eq!(read.unwrap().unwrap(), [0; 3]);
    }
}
