//! Reading variables in another layout than that of the file.

use std::sync::atomic::AtomicUsize;

use super::reader::{Bundle, native};
use super::source::Raw;
use super::{VariableInfo, bands};
use crate::bytes::Crc;
use crate::error::Result;
use crate::io::{Blank, zeroed};
use crate::layout::{Moving, Transform};
use crate::tensor::Element;

impl Bundle {
    /// Fills `destination` with the elements of a variable in the layout that `transform` gives them, little-endian.
    /// They are moved while they are read, a band of 1 MiB at a time, or 4 MiB for each core if it is divided; only a
    /// variable that is partitioned or stored in the V1 format exists once more on the way. The memory of bands is kept
    /// for the next.
    ///
    /// # Errors
    /// As [`read_into`](Self::read_into), and [`Error::InvalidArgument`](crate::Error::InvalidArgument) if the transform was made for another shape.
    pub fn read_laid_out_into(&self, info: &VariableInfo, transform: &Transform, destination: &mut [u8]) -> Result<()> {
        self.read_laid_out_by(info, transform, destination, None, self.limits().threads())
    }

    pub(super) fn read_laid_out_by(
        &self,
        info: &VariableInfo,
        transform: &Transform,
        destination: &mut [u8],
        window: Option<(&dyn Raw, &[u8])>,
        threads: usize,
    ) -> Result<()> {
        self.check_len(info, destination.len())?;
        let read = AtomicUsize::new(0);
        match self.moving(info, transform)? {
            Some(moving) => self.read_moved(info, &moving, Blank::over(destination, &read), window, threads),
            None => self.read_into_by(info, destination, threads),
        }
    }

    /// The elements of a variable in the layout that `transform` gives them, as
    /// [`read_laid_out_into`](Self::read_laid_out_into), in a new vector.
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`Error::InvalidArgument`](crate::Error::InvalidArgument) if the transform was made for another shape.
    pub fn read_laid_out<T: Element>(&self, name: impl AsRef<[u8]>, transform: &Transform) -> Result<Vec<T>> {
        let info = self.variable(name)?;
        self.check_dtype::<T>(info)?;
        self.read_laid_out_new(info, transform, None, self.limits().threads())
            .map(native)
    }

    /// As [`read_new`](Self::read_new), in the layout that `transform` gives.
    pub(super) fn read_laid_out_new<T: Element>(
        &self,
        info: &VariableInfo,
        transform: &Transform,
        window: Option<(&dyn Raw, &[u8])>,
        threads: usize,
    ) -> Result<Vec<T>> {
        let Some(moving) = self.moving(info, transform)? else {
            return self.read_new(info, window, threads);
        };
        self.fill_new(info, window, |blank| {
            self.read_moved(info, &moving, blank, window, threads)
        })
    }

    /// What moves the elements of a variable; `None` if they stay.
    fn moving(&self, info: &VariableInfo, transform: &Transform) -> Result<Option<Moving>> {
        transform.for_variable(&info.name(), info.dtype(), info.size())
    }

    fn read_moved(
        &self,
        info: &VariableInfo,
        moving: &Moving,
        destination: Blank<'_>,
        window: Option<(&dyn Raw, &[u8])>,
        threads: usize,
    ) -> Result<()> {
        let raw = self.source().raw().filter(|_| info.pieces().is_empty());
        let stored = match (window, raw) {
            (Some((raw, bytes)), _) => {
                raw.check(info, Crc::of(bytes))?;
                let mut stored = bytes.to_vec();
                raw.to_little(info, &mut stored);
                stored
            }
            (None, Some(raw)) => {
                self.source().file_len(info)?;
                return bands::read(raw, info, moving, destination, threads, &self.bands);
            }
            (None, None) => {
                let mut stored = zeroed(destination.len());
                self.read_into_by(info, &mut stored, threads)?;
                stored
            }
        };
        destination.into_moved().put(moving, 0, &stored, 0);
        Ok(())
    }
}
