//! Integers, checksums and byte order, as the format encodes them.

mod crc;
mod cursor;
pub(crate) mod endian;
mod ordered;
pub(crate) mod unwritten;

pub(crate) use crc::{Crc, MaskedCrc};
pub(crate) use cursor::{Cursor, put_fixed32, put_varint};
pub(crate) use ordered::slice_key;
