//! A look at the messages of a graph before they are parsed. A parsed node takes many times the bytes of an empty
//! message: nodes and attributes must have at least the names that every real one has.

use crate::bytes::Cursor;

/// The name and the operation of a node, of a letter each.
const LEAST_NODE: usize = 6;
/// The name of an attribute, of a letter.
const LEAST_ATTR: usize = 3;
/// The name of a function in its signature, of a letter.
const LEAST_FUNCTION: usize = 5;

/// The name of an argument of a function, of a letter.
const LEAST_ARG: usize = 3;

/// What is wrong with a `MetaGraphDef`, and at which byte. What is no message at all is left to the parser.
pub(super) fn check(bytes: &[u8]) -> Result<(), (usize, &'static str)> {
    fields(bytes, 0, |field, at, message| match field {
        2 => graph(message, at),
        _ => Ok(()),
    })
}

fn graph(bytes: &[u8], at: usize) -> Result<(), (usize, &'static str)> {
    fields(bytes, at, |field, at, message| match field {
        1 => node(message, at),
        2 => fields(message, at, |field, at, message| match field {
            1 if message.len() < LEAST_FUNCTION => Err((at, "a function without a name")),
            1 => fields(message, at, |field, at, message| match field {
                1 => fields(message, at, |field, at, message| match field {
                    2 | 3 if message.len() < LEAST_ARG => Err((at, "an argument of a function without a name")),
                    _ => Ok(()),
                }),
                3 => node(message, at),
                _ => Ok(()),
            }),
            _ => Ok(()),
        }),
        _ => Ok(()),
    })
}

fn node(bytes: &[u8], at: usize) -> Result<(), (usize, &'static str)> {
    if bytes.len() < LEAST_NODE {
        return Err((at, "a node without a name or an operation"));
    }
    fields(bytes, at, |field, at, message| match field {
        5 if message.len() < LEAST_ATTR => Err((at, "an attribute without a name")),
        _ => Ok(()),
    })
}

/// Calls `visit` with every field that has a length: number, place in the file, and bytes.
fn fields(
    bytes: &[u8],
    start: usize,
    mut visit: impl FnMut(u64, usize, &[u8]) -> Result<(), (usize, &'static str)>,
) -> Result<(), (usize, &'static str)> {
    let mut cursor = Cursor::new(bytes);
    while let Some(tag) = cursor.varint() {
        let skipped = match tag & 7 {
            0 => cursor.varint().is_some(),
            1 => cursor.take(8).is_some(),
            5 => cursor.take(4).is_some(),
            2 => match cursor.varint_usize().and_then(|len| cursor.take(len)) {
                Some(message) => {
                    visit(tag >> 3, start + cursor.position() - message.len(), message)?;
                    true
                }
                None => false,
            },
            _ => false,
        };
        if !skipped {
            break;
        }
    }
    Ok(())
}
