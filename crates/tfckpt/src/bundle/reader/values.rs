//! The bytes of whole variables.

use std::sync::atomic::AtomicUsize;

use super::super::VariableInfo;
use super::super::join;
use super::super::payload::{Strings, encode_strings, is_framed};
use super::super::source::{Raw, check_size};
use super::{Bundle, Endianness};
use crate::bytes::{Crc, endian};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::io::{Blank, filled};
use crate::slice::Slice;
use crate::tensor::Element;

impl Bundle {
    /// The elements of a variable, row-major. One allocation, filled in place.
    ///
    /// # Errors
    /// As [`variable`](Self::variable) and [`read_into`](Self::read_into), and [`Error::DtypeMismatch`]: nothing is
    /// cast.
    pub fn read<T: Element>(&self, name: impl AsRef<[u8]>) -> Result<Vec<T>> {
        let info = self.variable(name)?;
        self.check_dtype::<T>(info)?;
        self.read_new(info, None, self.limits.threads()).map(native)
    }

    /// The bytes of a variable: little-endian elements, row-major. For `string` and `variant` the payload as the V2
    /// format stores it, lengths and checksums included.
    ///
    /// # Errors
    /// As [`variable`](Self::variable) and [`read_into`](Self::read_into).
    pub fn read_bytes(&self, name: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        let info = self.variable(name)?;
        match info.dtype() {
            // As a little-endian writer would store it as one.
            DType::String if !info.pieces().is_empty() || self.endianness == Endianness::Big => {
                let strings = self.read_strings(info.key())?;
                let elements: Vec<_> = strings.iter().map(Into::into).collect();
                Ok(encode_strings(&elements).0)
            }
            dtype if is_framed(dtype) => {
                self.checked_size(info)?;
                self.source.payload(info)
            }
            _ => self.read_new(info, None, self.limits.threads()),
        }
    }

    /// The elements of a `string` variable.
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`Error::CorruptPayload`].
    pub fn read_strings(&self, name: impl AsRef<[u8]>) -> Result<Strings> {
        let info = self.variable(name)?;
        if info.dtype() != DType::String {
            return Err(self.dtype_mismatch(info, DType::String));
        }
        self.checked_size(info)?;
        if info.pieces().is_empty() {
            return self.source.strings(info);
        }
        let region = self.region(info, &Slice::full(info.shape().rank()))?;
        let pieces = join::touched(info.pieces(), info, &region);
        // Each string takes a byte of the file at least.
        let count = info.shape().element_count().unwrap_or(u64::MAX);
        join::check_size(self.source.as_ref(), &pieces, count.saturating_mul(join::MAX_RATIO))
            .and_then(|()| join::strings(self.source.as_ref(), &pieces, &region))
            .map_err(|error| self.join_error(info, error))
    }

    /// Fills `destination` with the bytes of a variable, as [`read_bytes`](Self::read_bytes) gives them: one copy,
    /// straight from the file, hashed on the way, on all cores from 4 MiB on. Slices of whole rows are read straight to
    /// their places, too.
    ///
    /// # Errors
    /// [`Error::WrongLength`] if the destination has another length than [`VariableInfo::size`],
    /// [`Error::ShardMissing`], [`Error::ShardTruncated`], [`Error::Checksum`], [`Error::CorruptPayload`],
    /// [`Error::CorruptEntry`] for slices that do not make up the variable. After an error the destination holds
    /// anything.
    pub fn read_into(&self, info: &VariableInfo, destination: &mut [u8]) -> Result<()> {
        self.read_into_by(info, destination, self.limits.threads())
    }

    pub(in crate::bundle) fn read_into_by(
        &self,
        info: &VariableInfo,
        destination: &mut [u8],
        threads: usize,
    ) -> Result<()> {
        self.check_len(info, destination.len())?;
        if is_framed(info.dtype()) {
            let payload = self.read_bytes(info.key())?;
            if payload.len() == destination.len() {
                destination.copy_from_slice(&payload);
                return Ok(());
            }
            return Err(Error::invalid(format!(
                "the strings of `{}` are stored in slices or in the V1 format: read them with `read_strings`",
                info.name()
            )));
        }
        if info.pieces().is_empty() {
            let read = AtomicUsize::new(0);
            return self.source.read_into(info, Blank::over(destination, &read), threads);
        }
        let region = self.region(info, &Slice::full(info.shape().rank()))?;
        self.read_region(info, &region, destination, threads)
    }

    /// The bytes of a variable of fixed-size elements in a new vector of elements of any type; little-endian. What was
    /// read of them already is in `window`.
    pub(in crate::bundle) fn read_new<T: Element>(
        &self,
        info: &VariableInfo,
        window: Option<(&dyn Raw, &[u8])>,
        threads: usize,
    ) -> Result<Vec<T>> {
        self.fill_new(info, window, |blank| match window {
            Some((raw, bytes)) => {
                raw.check(info, Crc::of(bytes))?;
                raw.to_little(info, blank.copy_from(bytes));
                Ok(())
            }
            None if info.pieces().is_empty() => self.source.read_into(info, blank, threads),
            None => self.read_into_by(info, blank.initialised(), threads),
        })
    }

    /// A new vector for the bytes of a variable, all of which `fill` has to put there.
    pub(in crate::bundle) fn fill_new<T: Element>(
        &self,
        info: &VariableInfo,
        window: Option<(&dyn Raw, &[u8])>,
        fill: impl FnOnce(Blank<'_>) -> Result<()>,
    ) -> Result<Vec<T>> {
        filled(self.new_len::<T>(info, window)?, fill)?
            .ok_or_else(|| Error::invalid(format!("variable `{}` was not read to its end", info.name())))
    }

    /// How many elements hold the bytes of a variable.
    pub(in crate::bundle) fn new_len<T: Element>(
        &self,
        info: &VariableInfo,
        window: Option<(&dyn Raw, &[u8])>,
    ) -> Result<usize> {
        let size = match window {
            Some((_, bytes)) => bytes.len(),
            None => self.checked_size(info)?,
        };
        if size % size_of::<T>() != 0 || is_framed(info.dtype()) {
            let (name, dtype) = (info.name(), info.dtype());
            return Err(Error::invalid(format!(
                "variable `{name}` is {dtype}, which does not fit into {}",
                T::DTYPE
            )));
        }
        Ok(size / size_of::<T>())
    }

    /// Checks the bytes of a variable without keeping them, a large one on all cores. Needs 256 KiB for each of them,
    /// the whole payload for strings, and the whole variable for a partitioned one.
    ///
    /// # Errors
    /// As [`read_into`](Self::read_into).
    pub fn verify(&self, info: &VariableInfo) -> Result<()> {
        self.verify_by(info, self.limits.threads())
    }

    pub(in crate::bundle) fn verify_by(&self, info: &VariableInfo, threads: usize) -> Result<()> {
        self.checked_size(info)?;
        match (info.pieces().is_empty(), is_framed(info.dtype())) {
            (true, true) => self.source.payload(info).map(drop),
            (true, false) => self.source.verify(info, threads),
            (false, true) => self.read_strings(info.key()).map(drop),
            (false, false) => self.read_bytes(info.key()).map(drop),
        }
    }

    /// The size of a variable in bytes, after its data files were seen to hold that much: safe to allocate.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`], and those of opening the data file: [`Error::ShardMissing`],
    /// [`Error::ShardTruncated`].
    pub fn checked_size(&self, info: &VariableInfo) -> Result<usize> {
        let size = check_size(self.index_path(), info.size(), self.limits.tensor_bytes())?;
        if info.pieces().is_empty() {
            self.source.file_len(info)?;
            return Ok(size);
        }
        let region = self.region(info, &Slice::full(info.shape().rank()))?;
        self.checked_region(info, &region)
    }

    pub(in crate::bundle) fn check_len(&self, info: &VariableInfo, len: usize) -> Result<()> {
        if len as u64 == info.size() {
            return Ok(());
        }
        Err(Error::WrongLength {
            name: info.name().into_owned(),
            dtype: info.dtype(),
            shape: info.shape().clone(),
            expected: info.size(),
            got: len as u64,
        })
    }

    pub(in crate::bundle) fn check_dtype<T: Element>(&self, info: &VariableInfo) -> Result<()> {
        match info.dtype() == T::DTYPE {
            true => Ok(()),
            false => Err(self.dtype_mismatch(info, T::DTYPE)),
        }
    }

    fn dtype_mismatch(&self, info: &VariableInfo, requested: DType) -> Error {
        let (prefix, name) = (self.prefix(), info.name().into_owned());
        Error::DtypeMismatch {
            prefix,
            name,
            stored: info.dtype(),
            requested,
        }
    }
}

/// Elements of this machine, of little-endian ones.
pub(in crate::bundle) fn native<T: Element>(mut values: Vec<T>) -> Vec<T> {
    endian::to_little(bytemuck::cast_slice_mut(&mut values), T::DTYPE);
    values
}
