//! From one dtype to another, exactly or not at all.
//!
//! TensorFlow has dtypes that frameworks lack. What is stored in one of them is held in a wider dtype of the framework,
//! and stored again as it was: [`Conversion`]s both ways. Casts that somebody asked for are conversions, too.

mod float;
mod reason;
#[cfg(test)]
mod tests;

use crate::dtype::DType;
use crate::error::{BoxError, Error, Result};
use crate::io::zeroed;
use crate::tensor::{Element, Payload, Sink, Variable};
use float::Format;
pub(super) use reason::why_not;

/// A way from one dtype to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conversion {
    from: DType,
    to: DType,
    kinds: (Kind, Kind),
}

/// What becomes of the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fidelity {
    /// The bytes stay as they are.
    Same,
    /// Every value is kept.
    Exact,
    /// A value that the other dtype does not have is an error, and all others are kept.
    Checked,
    /// Values may be rounded.
    Lossy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Bits of a number in two's complement or without a sign, the lowest of its byte where it has less than eight.
    Integer {
        bits: u32,
        signed: bool,
    },
    Float(Format),
    /// 0 is false, anything else is true.
    Bool,
}

impl Kind {
    fn of(dtype: DType) -> Option<Kind> {
        let (bits, signed) = match dtype {
            DType::Bool => return Some(Kind::Bool),
            DType::Int2 => (2, true),
            DType::Int4 => (4, true),
            DType::Int8 => (8, true),
            DType::Int16 => (16, true),
            DType::Int32 => (32, true),
            DType::Int64 => (64, true),
            DType::Uint2 => (2, false),
            DType::Uint4 => (4, false),
            DType::Uint8 => (8, false),
            DType::Uint16 => (16, false),
            DType::Uint32 => (32, false),
            DType::Uint64 => (64, false),
            _ => return Format::of(dtype).map(Kind::Float),
        };
        Some(Kind::Integer { bits, signed })
    }
}

impl Conversion {
    /// The way from one dtype to another; `None` if there is none: strings and complex numbers are no numbers of a
    /// model, quantized integers mean nothing without their scale, and what is rounded to integers is another value.
    pub fn new(from: DType, to: DType) -> Option<Conversion> {
        if from == to {
            let kinds = (Kind::Bool, Kind::Bool);
            return from.size().map(|_| Conversion { from, to, kinds });
        }
        let kinds = (Kind::of(from)?, Kind::of(to)?);
        match kinds {
            (Kind::Float(_), Kind::Integer { .. } | Kind::Bool) | (Kind::Bool, Kind::Float(_)) => None,
            _ => Some(Conversion { from, to, kinds }),
        }
    }

    /// The dtype of what is converted.
    pub fn from(&self) -> DType {
        self.from
    }

    /// The dtype that it is converted to.
    pub fn to(&self) -> DType {
        self.to
    }

    /// What becomes of the values.
    pub fn fidelity(&self) -> Fidelity {
        let exact = |is_exact, otherwise| if is_exact { Fidelity::Exact } else { otherwise };
        match self.kinds {
            _ if self.from == self.to => Fidelity::Same,
            (Kind::Bool, Kind::Integer { bits: 8, signed: false }) => Fidelity::Same,
            (Kind::Bool, _) => Fidelity::Exact,
            (_, Kind::Bool) => Fidelity::Checked,
            (
                Kind::Integer { bits, signed },
                Kind::Integer {
                    bits: other,
                    signed: other_signed,
                },
            ) => {
                let fits = match (signed, other_signed) {
                    (true, false) => false,
                    (false, true) => bits < other,
                    _ => bits <= other,
                };
                exact(fits, Fidelity::Checked)
            }
            (Kind::Integer { bits, signed }, Kind::Float(format)) => {
                exact(format.contains_integers(bits - u32::from(signed)), Fidelity::Lossy)
            }
            (Kind::Float(from), Kind::Float(to)) => exact(to.contains(from), Fidelity::Lossy),
            (Kind::Float(_), Kind::Integer { .. }) => Fidelity::Lossy,
        }
    }

    /// Converts a whole variable into a new vector, which `T` aligns; otherwise as [`convert`](Self::convert).
    ///
    /// # Errors
    /// As [`convert`](Self::convert), and if the result has no size.
    pub fn converted<T: Element>(&self, name: &str, exactly: bool, source: &[u8]) -> Result<Vec<T>> {
        let mut values: Vec<T> = zeroed(self.size(source.len())? / size_of::<T>());
        self.convert(name, exactly, source, bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }

    /// What so many bytes become.
    pub(super) fn size(&self, bytes: usize) -> Result<usize> {
        let (from, to) = (self.from.size().unwrap_or(1), self.to.size().unwrap_or(1));
        let too_large = || Error::invalid(format!("{bytes} bytes of {} are too many of {}", self.from, self.to));
        let size = (bytes / from).checked_mul(to);
        size.filter(|size| isize::try_from(*size).is_ok()).ok_or_else(too_large)
    }

    /// Converts elements, little-endian both, into `destination`. With `exactly` a value that would be rounded is an
    /// error as well as one that is out of range; `name` is that of the variable, for the error.
    ///
    /// # Errors
    /// [`Error::ValueMisfit`]; [`Error::InvalidArgument`] if the lengths do not belong to the same number of elements.
    pub fn convert(&self, name: &str, exactly: bool, source: &[u8], destination: &mut [u8]) -> Result<()> {
        self.convert_from(name, exactly, 0, source, destination)
    }

    /// As [`convert`](Self::convert), for elements of which the first has this number in its variable.
    fn convert_from(
        &self,
        name: &str,
        exactly: bool,
        first: usize,
        source: &[u8],
        destination: &mut [u8],
    ) -> Result<()> {
        let (from, to) = (self.from.size().unwrap_or(1), self.to.size().unwrap_or(1));
        let count = source.len() / from;
        if source.len() != count * from || destination.len() != count * to {
            let (has, given) = (source.len(), destination.len());
            return Err(Error::invalid(format!(
                "variable `{name}`: {has} bytes of {} are not {given} bytes of {}",
                self.from, self.to
            )));
        }
        if self.fidelity() == Fidelity::Same {
            destination.copy_from_slice(source);
            return Ok(());
        }
        let elements = source.chunks_exact(from).zip(destination.chunks_exact_mut(to));
        for (index, (source, destination)) in elements.enumerate() {
            match self.element(read(source), exactly) {
                Some(bits) => {
                    let bytes = bits.to_le_bytes();
                    destination.copy_from_slice(bytes.get(..to).unwrap_or_default());
                }
                None => {
                    return Err(Error::ValueMisfit {
                        name: name.to_owned(),
                        index: first + index,
                        value: self.text(read(source)),
                        from: self.from,
                        to: self.to,
                    });
                }
            }
        }
        Ok(())
    }

    /// Passes on what comes in, converted exactly, whatever pieces it comes in.
    pub fn through<'s>(&self, name: &'s str, sink: &'s mut Sink<'_>) -> impl FnMut(&[u8]) -> Result<(), BoxError> + 's {
        let conversion = *self;
        let (from, to) = (self.from.size().unwrap_or(1), self.to.size().unwrap_or(1));
        let (mut left, mut converted, mut count) = (Vec::new(), Vec::new(), 0);
        move |bytes: &[u8]| {
            let mut bytes = bytes;
            let mut pass = |elements: &[u8]| -> Result<(), BoxError> {
                converted.clear();
                converted.resize(elements.len() / from * to, 0);
                conversion.convert_from(name, true, count, elements, &mut converted)?;
                count += elements.len() / from;
                sink(&converted)
            };
            // What a piece before has left of an element.
            if !left.is_empty() {
                let (head, rest) = bytes.split_at(bytes.len().min(from - left.len()));
                left.extend_from_slice(head);
                bytes = rest;
                if left.len() < from {
                    return Ok(());
                }
                pass(&left)?;
                left.clear();
            }
            let whole = bytes.len() - bytes.len() % from;
            let (elements, rest) = bytes.split_at(whole);
            left.extend_from_slice(rest);
            elements.chunks(AT_ONCE * from).try_for_each(pass)
        }
    }

    /// The bits of the element in the other dtype; `None` if it does not have it.
    fn element(&self, bits: u64, exactly: bool) -> Option<u64> {
        match self.kinds {
            (Kind::Bool, _) => Some(u64::from(bits != 0)),
            (Kind::Integer { .. }, Kind::Bool) => (bits <= 1).then_some(bits),
            (
                Kind::Integer { bits: width, signed },
                Kind::Integer {
                    bits: other,
                    signed: other_signed,
                },
            ) => {
                let value = integer(bits, width, signed);
                let (low, high) = match other_signed {
                    true => (-(1i128 << (other - 1)), (1i128 << (other - 1)) - 1),
                    false => (0, (1i128 << other) - 1),
                };
                let mask = u64::MAX >> (64 - other);
                (low..=high).contains(&value).then(|| two_complement(value) & mask)
            }
            (Kind::Integer { bits: width, signed }, Kind::Float(format)) => {
                let value = integer(bits, width, signed);
                let number = as_float(value);
                let there = format.encode(number.to_bits());
                let is_exact = || as_integer(f64::from_bits(format.decode(there))) == value;
                (!exactly || is_exact()).then_some(there)
            }
            (Kind::Float(from), Kind::Float(to)) => {
                let number = from.decode(bits);
                let there = to.encode(number);
                let is_exact = || {
                    let again = to.decode(there);
                    again == number || (f64::from_bits(again).is_nan() && f64::from_bits(number).is_nan())
                };
                (!exactly || is_exact()).then_some(there)
            }
            (Kind::Float(_), _) => None,
        }
    }

    fn text(&self, bits: u64) -> String {
        match self.kinds.0 {
            Kind::Integer { bits: width, signed } => integer(bits, width, signed).to_string(),
            Kind::Float(format) => format!("{:?}", f64::from_bits(format.decode(bits))),
            Kind::Bool => (bits != 0).to_string(),
        }
    }
}

impl<'a> Variable<'a> {
    /// This in another dtype: its elements are converted, exactly, while they are written. Saving fails if one does not
    /// fit, and then names it.
    #[must_use]
    pub fn converted(mut self, conversion: Conversion) -> Variable<'a> {
        if conversion.from() == conversion.to() {
            return self;
        }
        let (name, transform) = (self.name().into_owned(), self.transform.take());
        let (payload, rest) = self.split();
        let produce = move |sink: &mut Sink<'_>| {
            let mut through = conversion.through(&name, sink);
            match payload {
                Payload::Bytes(bytes) => through(&bytes),
                Payload::Lent(lend) => lend(&mut through),
                Payload::Deferred(produce) => produce(&mut through),
                Payload::Strings(_) => Err("strings are not converted".into()),
            }
        };
        let converted = rest
            .with_dtype(conversion.to())
            .with(Payload::Deferred(Box::new(produce)));
        match transform {
            Some(transform) => converted.laid_out(*transform),
            None => converted,
        }
    }
}

/// Elements that are converted at a time while they are written.
const AT_ONCE: usize = 1 << 16;
/// The bits of an element of at most eight bytes.
fn read(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |bits, &byte| (bits << 8) | u64::from(byte))
}

fn integer(bits: u64, width: u32, signed: bool) -> i128 {
    let unused = 64 - width;
    match signed {
        true => i128::from((bits << unused).cast_signed() >> unused),
        false => i128::from(bits << unused >> unused),
    }
}

/// The lowest 64 bits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value was seen to fit into 64 bits"
)]
fn two_complement(value: i128) -> u64 {
    value as u64
}

#[expect(clippy::cast_precision_loss, reason = "whether it is exact is seen afterwards")]
fn as_float(value: i128) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a number that is too large becomes another one, and no equal"
)]
fn as_integer(value: f64) -> i128 {
    value as i128
}
