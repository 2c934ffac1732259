//! The payloads that are not plain elements: strings, and variants.
//!
//! ```text
//! string   := varint length * n , fixed32 masked crc of the lengths , bytes * n
//! variant  := ( varint length , bytes , fixed32 masked running crc ) * n
//! ```
//! The checksum in the index is not that of these bytes: it runs over the lengths as fixed-size words instead.

use std::borrow::Cow;

use crate::bytes::{Crc, Cursor, put_fixed32, put_varint};
use crate::dtype::DType;

/// The elements of a `string` variable, row-major. Each is any bytes, not necessarily UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Strings {
    bytes: Vec<u8>,
    /// Where each element ends.
    ends: Vec<usize>,
}

impl Strings {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The element at `index`, in row-major order.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index
            .checked_sub(1)
            .and_then(|before| self.ends.get(before))
            .copied()
            .unwrap_or(0);
        self.bytes.get(start..end)
    }

    /// All elements, in row-major order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index).unwrap_or_default())
    }
}

impl FromIterator<Vec<u8>> for Strings {
    fn from_iter<I: IntoIterator<Item = Vec<u8>>>(elements: I) -> Self {
        let mut strings = Strings::default();
        for element in elements {
            strings.bytes.extend_from_slice(&element);
            strings.ends.push(strings.bytes.len());
        }
        strings
    }
}

/// Why a payload does not parse, and at which of its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PayloadFault {
    pub(super) at: usize,
    pub(super) reason: &'static str,
}

/// The words that a big-endian writer hashes are big-endian ones.
fn length_word(length: u64, big_endian: bool, wide: bool) -> ([u8; 8], usize) {
    let mut word = [0; 8];
    let width = if wide { 8 } else { 4 };
    let little = length.to_le_bytes();
    for (i, slot) in word.iter_mut().take(width).enumerate() {
        let from = if big_endian { width - 1 - i } else { i };
        *slot = little.get(from).copied().unwrap_or_default();
    }
    (word, width)
}

fn extend_length(crc: &mut Crc, length: u64, big_endian: bool, wide: bool) {
    let (word, width) = length_word(length, big_endian, wide);
    crc.extend(word.get(..width).unwrap_or_default());
}

/// Where strings lie within a payload, and the checksum of the payload.
pub(super) struct StringsLayout {
    lengths: Vec<usize>,
    /// Where the first element starts.
    start: usize,
    pub(super) crc: Crc,
}

/// Parses the payload of `count` strings.
pub(super) fn parse_strings(payload: &[u8], count: u64, big_endian: bool) -> Result<StringsLayout, PayloadFault> {
    if count == 0 && payload.is_empty() {
        return Ok(StringsLayout {
            lengths: Vec::new(),
            start: 0,
            crc: Crc::default(),
        });
    }
    // Every length takes a byte at least, so that this bounds what is allocated.
    let count = usize::try_from(count).ok().filter(|&count| count <= payload.len());
    let count = count.ok_or(PayloadFault {
        at: payload.len(),
        reason: "fewer bytes than elements",
    })?;
    let mut cursor = Cursor::new(payload);
    let mut crc = Crc::default();
    let mut lengths = Vec::with_capacity(count);
    for _ in 0..count {
        let at = cursor.position();
        let length = cursor.varint().ok_or(PayloadFault {
            at,
            reason: "unreadable length",
        })?;
        extend_length(&mut crc, length, big_endian, u32::try_from(length).is_err());
        lengths.push(usize::try_from(length).map_err(|_| PayloadFault {
            at,
            reason: "impossible length",
        })?);
    }
    let at = cursor.position();
    let stored = cursor.take(4).ok_or(PayloadFault {
        at,
        reason: "no checksum of the lengths",
    })?;
    if !cfg!(fuzzing) && stored != word(crc.masked().0, big_endian) {
        return Err(PayloadFault {
            at,
            reason: "wrong checksum of the lengths",
        });
    }
    crc.extend(stored);
    let start = cursor.position();
    let total = lengths.iter().try_fold(0usize, |sum, &length| sum.checked_add(length));
    let bytes = payload.get(start..).unwrap_or_default();
    if total != Some(bytes.len()) {
        return Err(PayloadFault {
            at: start,
            reason: "the lengths do not add up to the bytes that follow",
        });
    }
    crc.extend(bytes);
    Ok(StringsLayout { lengths, start, crc })
}

impl StringsLayout {
    /// The strings themselves, reusing the payload's memory.
    pub(super) fn into_strings(self, mut payload: Vec<u8>) -> Strings {
        payload.drain(..self.start);
        let mut end = 0;
        let ends = self.lengths.iter().map(|length| {
            end += length;
            end
        });
        Strings {
            ends: ends.collect(),
            bytes: payload,
        }
    }
}

/// The payload of strings, and its checksum.
pub(super) fn encode_strings(elements: &[Cow<'_, [u8]>]) -> (Vec<u8>, Crc) {
    let mut payload = Vec::new();
    let mut crc = Crc::default();
    for element in elements {
        let length = element.len() as u64;
        put_varint(&mut payload, length);
        extend_length(&mut crc, length, false, u32::try_from(length).is_err());
    }
    let checksum = crc.masked().0;
    put_fixed32(&mut payload, checksum);
    crc.extend(&checksum.to_le_bytes());
    for element in elements {
        payload.extend_from_slice(element);
        crc.extend(element);
    }
    (payload, crc)
}

/// Checks the payload of `count` variants and computes its checksum. What the variants mean is not our concern.
pub(super) fn check_variants(payload: &[u8], count: u64) -> Result<Crc, PayloadFault> {
    let mut cursor = Cursor::new(payload);
    let mut crc = Crc::default();
    for _ in 0..count {
        let at = cursor.position();
        let length = cursor.varint().ok_or(PayloadFault {
            at,
            reason: "unreadable length",
        })?;
        extend_length(&mut crc, length, false, true);
        let bytes = usize::try_from(length).ok().and_then(|length| cursor.take(length));
        crc.extend(bytes.ok_or(PayloadFault {
            at,
            reason: "an element reaches past the end",
        })?);
        let at = cursor.position();
        let stored = cursor.take(4).ok_or(PayloadFault {
            at,
            reason: "no checksum behind an element",
        })?;
        if !cfg!(fuzzing) && stored != word(crc.masked().0, false) {
            return Err(PayloadFault {
                at,
                reason: "wrong checksum behind an element",
            });
        }
        crc.extend(stored);
    }
    match cursor.is_empty() {
        true => Ok(crc),
        false => Err(PayloadFault {
            at: cursor.position(),
            reason: "bytes behind the last element",
        }),
    }
}

/// Whether a payload needs parsing to be checked.
pub(super) fn is_framed(dtype: DType) -> bool {
    matches!(dtype, DType::String | DType::Variant)
}

fn word(value: u32, big_endian: bool) -> [u8; 4] {
    if big_endian {
        value.to_be_bytes()
    } else {
        value.to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cow(bytes: &[u8]) -> Cow<'_, [u8]> {
        Cow::Borrowed(bytes)
    }

    #[test]
    fn hello_has_the_bytes_of_the_format_document() {
        let (payload, crc) = encode_strings(&[cow(b"hello")]);
        assert_eq!(payload, [&[0x05, 0xd9, 0xc6, 0x9c, 0x43], &b"hello"[..]].concat());
        assert_eq!(crc.masked().0, 0x29c0_e0ec);
    }

    #[test]
    fn no_strings_have_a_payload_too() {
        let (payload, crc) = encode_strings(&[]);
        assert_eq!(payload, [0xd8, 0xea, 0x82, 0xa2]);
        assert_eq!(crc.masked().0, 0x640c_c1f6);
        assert!(
            parse_strings(&[], 0, false).is_ok(),
            "TensorFlow reads an empty payload as well"
        );
    }

    #[test]
    fn strings_come_back_as_they_were() {
        let elements = [cow(b"a"), cow(b""), cow(&[0xff; 200])];
        let (payload, crc) = encode_strings(&elements);
        let layout = parse_strings(&payload, 3, false).unwrap();
        assert_eq!(layout.crc, crc);
        let strings = layout.into_strings(payload);
        assert!(strings.iter().eq(elements.iter().map(|element| element.as_ref())));
    }

    #[test]
    fn lengths_that_lie_are_refused_before_anything_is_allocated() {
        let huge = [0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(parse_strings(&huge, u64::MAX, false).is_err());
        assert!(parse_strings(&huge, 1, false).is_err());
        assert!(check_variants(&huge, 1).is_err());
        assert!(check_variants(&[], u64::MAX).is_err());
    }
}
