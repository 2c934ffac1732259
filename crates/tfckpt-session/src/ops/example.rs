//! `tf.train.Example`: features by name, as serving requests and training files have them. What is needed of protocol buffers
//! to read it is here.

use std::collections::HashMap;

use crate::error::{Error, Result};

/// The values of a feature.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Feature<'e> {
    Bytes(Vec<&'e [u8]>),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    /// One that is there and has no values of any kind.
    Nothing,
}

/// Features by name. Of two of one name, the last one counts.
pub(crate) fn features(example: &[u8]) -> Result<HashMap<&[u8], Feature<'_>>> {
    let mut found = HashMap::new();
    for features in sub_messages(example, 1)? {
        for entry in sub_messages(features, 1)? {
            let name = sub_messages(entry, 1)?.pop().unwrap_or_default();
            let feature = match sub_messages(entry, 2)?.pop() {
                Some(feature) => read(feature)?,
                None => Feature::Nothing,
            };
            found.insert(name, feature);
        }
    }
    Ok(found)
}

fn read(feature: &[u8]) -> Result<Feature<'_>> {
    let mut found = Feature::Nothing;
    for field in Fields(feature) {
        found = match field? {
            (1, Field::Bytes(list)) => Feature::Bytes(sub_messages(list, 1)?),
            (2, Field::Bytes(list)) => Feature::Floats(floats(list)?),
            (3, Field::Bytes(list)) => Feature::Ints(ints(list)?),
            _ => found,
        };
    }
    Ok(found)
}

fn floats(list: &[u8]) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    for field in Fields(list) {
        match field? {
            (1, Field::Bytes(packed)) => {
                let (chunks, rest) = packed.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(damaged());
                }
                values.extend(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)));
            }
            (1, Field::Four(bytes)) => values.push(f32::from_le_bytes(bytes)),
            _ => {}
        }
    }
    Ok(values)
}

fn ints(list: &[u8]) -> Result<Vec<i64>> {
    let mut values = Vec::new();
    for field in Fields(list) {
        match field? {
            (1, Field::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    values.push(varint(&mut packed).ok_or_else(damaged)?.cast_signed());
                }
            }
            (1, Field::Number(value)) => values.push(value.cast_signed()),
            _ => {}
        }
    }
    Ok(values)
}

fn damaged() -> Error {
    Error::operand("a string that is no tf.train.Example")
}

/// All messages, or bytes, of this field.
fn sub_messages(message: &[u8], number: u64) -> Result<Vec<&[u8]>> {
    let mut found = Vec::new();
    for field in Fields(message) {
        if let (place, Field::Bytes(bytes)) = field?
            && place == number
        {
            found.push(bytes);
        }
    }
    Ok(found)
}

enum Field<'m> {
    Number(u64),
    Bytes(&'m [u8]),
    Four([u8; 4]),
    Eight,
}

/// The fields of a message with their numbers, until the first that is damaged.
struct Fields<'m>(&'m [u8]);

impl<'m> Iterator for Fields<'m> {
    type Item = Result<(u64, Field<'m>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = field(&mut self.0);
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(damaged))
    }
}

fn field<'m>(message: &mut &'m [u8]) -> Option<(u64, Field<'m>)> {
    let tag = varint(message)?;
    let field = match tag & 7 {
        0 => Field::Number(varint(message)?),
        1 => {
            message.split_off(..8)?;
            Field::Eight
        }
        2 => {
            let length = usize::try_from(varint(message)?).ok()?;
            Field::Bytes(message.split_off(..length)?)
        }
        5 => Field::Four(message.split_off(..4)?.try_into().ok()?),
        _ => return None,
    };
    Some((tag >> 3, field))
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *message.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
