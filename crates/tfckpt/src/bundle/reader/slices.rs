//! Parts of variables, and variables that are stored in parts.

use super::super::VariableInfo;
use super::super::join::{self, JoinError};
use super::super::region::Region;
use super::super::source::check_size;
use super::Bundle;
use super::values::native;
use crate::error::{EntryFault, Error, Result};
use crate::io::zeroed;
use crate::slice::Slice;
use crate::tensor::Element;

impl Bundle {
    /// The elements of a part of a variable, row-major: what `RestoreV2` gives for a `shape_and_slice`. Of a
    /// partitioned variable only the slices that it touches are read, these wholly; of any other the whole variable,
    /// because its checksum covers the whole, in pieces of 256 KiB.
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`Error::InvalidArgument`] if the slice does not lie within the variable.
    pub fn read_slice<T: Element>(&self, name: impl AsRef<[u8]>, slice: &Slice) -> Result<Vec<T>> {
        let info = self.variable(name)?;
        let region = self.region(info, slice)?;
        self.read_elements(info, self.checked_region(info, &region)?, |bytes| {
            self.read_region(info, &region, bytes, self.limits.threads())
        })
    }

    /// The bytes of a part of a variable, as [`read_slice`](Self::read_slice) reads it.
    ///
    /// # Errors
    /// As [`read_slice`](Self::read_slice).
    pub fn read_slice_bytes(&self, name: impl AsRef<[u8]>, slice: &Slice) -> Result<Vec<u8>> {
        let info = self.variable(name)?;
        let region = self.region(info, slice)?;
        let mut bytes = zeroed(self.checked_region(info, &region)?);
        self.read_region(info, &region, &mut bytes, self.limits.threads())?;
        Ok(bytes)
    }

    fn read_elements<T: Element>(
        &self,
        info: &VariableInfo,
        size: usize,
        read: impl FnOnce(&mut [u8]) -> Result<()>,
    ) -> Result<Vec<T>> {
        self.check_dtype::<T>(info)?;
        let mut values: Vec<T> = zeroed(size / size_of::<T>());
        read(bytemuck::cast_slice_mut(&mut values))?;
        Ok(native(values))
    }

    /// The box that a slice is.
    pub(super) fn region(&self, info: &VariableInfo, slice: &Slice) -> Result<Region> {
        slice.ranges_in(info.shape()).ok_or_else(|| {
            Error::invalid(format!(
                "slice {slice} does not lie within variable `{}` of shape {}",
                info.name(),
                info.shape()
            ))
        })
    }

    /// The bytes of a region, after the data files were seen to hold as many.
    pub(super) fn checked_region(&self, info: &VariableInfo, region: &Region) -> Result<usize> {
        let element_size = info.dtype().size().unwrap_or(0) as u64;
        // Within a shape that was checked, so that it does not overflow.
        let count = region.iter().map(|range| range.len() as u64).product::<u64>();
        let declared = count.saturating_mul(element_size);
        let size = check_size(self.index_path(), declared, self.limits.tensor_bytes())?;
        match info.pieces().is_empty() {
            true => drop(self.source.file_len(info)?),
            false => {
                let pieces = join::touched(info.pieces(), info, region);
                join::check_size(self.source.as_ref(), &pieces, declared)
                    .map_err(|error| self.join_error(info, error))?;
            }
        }
        Ok(size)
    }

    pub(super) fn read_region(
        &self,
        info: &VariableInfo,
        region: &Region,
        destination: &mut [u8],
        threads: usize,
    ) -> Result<()> {
        let Some(element_size) = info.dtype().size() else {
            return Err(Error::invalid(format!(
                "variable `{}` is {}, of which no slice can be read as bytes",
                info.name(),
                info.dtype()
            )));
        };
        let whole;
        let pieces = match info.pieces() {
            // Stored whole: one piece, which is everything.
            [] => {
                whole = [info.clone().into_piece(&info.name(), Slice::full(info.shape().rank()))];
                join::touched(&whole, info, region)
            }
            pieces => join::touched(pieces, info, region),
        };
        join::read_into(
            self.source.as_ref(),
            &pieces,
            region,
            element_size,
            destination,
            threads,
        )
        .map_err(|error| self.join_error(info, error))
    }

    pub(super) fn join_error(&self, info: &VariableInfo, error: JoinError) -> Error {
        match error {
            JoinError::Read(error) => error,
            JoinError::Fault(fault) => self.corrupt_entry(info, fault),
        }
    }

    fn corrupt_entry(&self, info: &VariableInfo, fault: EntryFault) -> Error {
        Error::CorruptEntry {
            path: self.index_path(),
            name: info.name().into_owned(),
            fault,
        }
    }
}
