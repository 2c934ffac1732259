//! The wire format of an object graph, read into flat tables.
//!
//! A message of two bytes must not cost a hundred in memory, so that nothing is allocated for a message of its own:
//! names stay where they are in the serialised graph, and records of fixed size refer to them.

use crate::bytes::Cursor;

/// A string of the graph: its place in the serialised bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Text {
    start: u32,
    len: u32,
}

impl Text {
    /// The string; every `Text` was checked to be UTF-8 when it was parsed.
    pub(super) fn of(self, bytes: &[u8]) -> &str {
        let start = self.start as usize;
        let text = bytes.get(start..start + self.len as usize).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }

    /// A part of the string, which must lie within it.
    pub(super) fn part(self, from: usize, len: usize) -> Text {
        let end = self.start + self.len;
        let start = self.start.saturating_add(count(from)).min(end);
        Text {
            start,
            len: count(len).min(end - start),
        }
    }

    fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// Where the children, attributes and slots of a node end in their tables; they start where those of the node before
/// end.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ends {
    pub(super) children: u32,
    pub(super) attributes: u32,
    pub(super) slots: u32,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ChildRecord {
    pub(super) node: u32,
    pub(super) name: Text,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AttributeRecord {
    pub(super) node: u32,
    pub(super) name: Text,
    pub(super) full_name: Text,
    pub(super) key: Text,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SlotRecord {
    pub(super) variable: u32,
    pub(super) name: Text,
    pub(super) slot: u32,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SaverRecord {
    pub(super) node: u32,
    pub(super) name: Text,
    pub(super) object: Text,
}

/// The nodes of a graph, and what they have.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) nodes: Vec<Ends>,
    pub(super) children: Vec<ChildRecord>,
    pub(super) attributes: Vec<AttributeRecord>,
    pub(super) slots: Vec<SlotRecord>,
    pub(super) savers: Vec<SaverRecord>,
}

/// What is wrong with a serialised object graph, and at which of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {reason}")]
pub struct GraphFault {
    /// The offset in the serialised graph.
    pub offset: usize,
    /// What does not fit.
    pub reason: &'static str,
}

enum Value<'a> {
    Varint(u64),
    /// The bytes, and where they start in the graph.
    Bytes(&'a [u8], usize),
    Fixed,
}

/// One field after the other of a message that starts at `base` of the graph.
struct Fields<'a> {
    cursor: Cursor<'a>,
    base: usize,
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8], base: usize) -> Self {
        Fields {
            cursor: Cursor::new(bytes),
            base,
        }
    }

    fn fault(&self, reason: &'static str) -> GraphFault {
        GraphFault {
            offset: self.base + self.cursor.position(),
            reason,
        }
    }

    fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, GraphFault> {
        if self.cursor.is_empty() {
            return Ok(None);
        }
        let malformed = self.fault("no field of a protocol buffer");
        let mut read = || {
            let key = self.cursor.varint()?;
            let value = match key & 7 {
                0 => Value::Varint(self.cursor.varint()?),
                1 => self.cursor.take(8).map(|_| Value::Fixed)?,
                2 => {
                    let len = self.cursor.varint_usize()?;
                    let start = self.base + self.cursor.position();
                    Value::Bytes(self.cursor.take(len)?, start)
                }
                5 => self.cursor.take(4).map(|_| Value::Fixed)?,
                _ => return None,
            };
            (key >> 3 != 0).then_some((key >> 3, value))
        };
        read().map(Some).ok_or(malformed)
    }
}

/// Parses a serialised `TrackableObjectGraph`. References without a name, and attributes without a key, lead nowhere
/// and are left out.
pub(super) fn parse(bytes: &[u8]) -> Result<Tables, GraphFault> {
    if u32::try_from(bytes.len()).is_err() {
        return Err(GraphFault {
            offset: 0,
            reason: "the graph has more than 4 GiB",
        });
    }
    let mut tables = Tables::default();
    let mut fields = Fields::new(bytes, 0);
    while let Some((tag, value)) = fields.next()? {
        if let (1, Value::Bytes(node, base)) = (tag, value) {
            tables.node(node, base)?;
        }
    }
    tables.check_ids()?;
    Ok(tables)
}

impl Tables {
    fn node(&mut self, bytes: &[u8], base: usize) -> Result<(), GraphFault> {
        let id = count(self.nodes.len());
        let mut fields = Fields::new(bytes, base);
        while let Some((tag, value)) = fields.next()? {
            let Value::Bytes(message, base) = value else { continue };
            match tag {
                1 => {
                    let mut child = ChildRecord::default();
                    each(message, base, |tag, number, text| match tag {
                        1 => child.node = number,
                        2 => child.name = text,
                        _ => {}
                    })?;
                    if !child.name.is_empty() {
                        self.children.push(child);
                    }
                }
                2 => {
                    let mut attribute = AttributeRecord {
                        node: id,
                        ..Default::default()
                    };
                    each(message, base, |tag, _, text| match tag {
                        1 => attribute.name = text,
                        2 => attribute.full_name = text,
                        3 => attribute.key = text,
                        _ => {}
                    })?;
                    if !attribute.key.is_empty() {
                        self.attributes.push(attribute);
                    }
                }
                3 => {
                    let mut slot = SlotRecord::default();
                    each(message, base, |tag, number, text| match tag {
                        1 => slot.variable = number,
                        2 => slot.name = text,
                        3 => slot.slot = number,
                        _ => {}
                    })?;
                    if !slot.name.is_empty() {
                        self.slots.push(slot);
                    }
                }
                4 => {
                    let mut saver = SaverRecord {
                        node: id,
                        ..Default::default()
                    };
                    each(message, base, |tag, _, text| match tag {
                        1 => saver.name = text,
                        2 => saver.object = text,
                        _ => {}
                    })?;
                    if !saver.name.is_empty() {
                        self.savers.push(saver);
                    }
                }
                _ => {}
            }
        }
        self.nodes.push(Ends {
            children: count(self.children.len()),
            attributes: count(self.attributes.len()),
            slots: count(self.slots.len()),
        });
        Ok(())
    }

    /// From here on every id is that of a node.
    fn check_ids(&self) -> Result<(), GraphFault> {
        let nodes = count(self.nodes.len());
        let children = self.children.iter().map(|child| (child.node, child.name));
        let slots = self
            .slots
            .iter()
            .flat_map(|slot| [(slot.variable, slot.name), (slot.slot, slot.name)]);
        match children.chain(slots).find(|(id, _)| *id >= nodes) {
            None => Ok(()),
            Some((_, name)) => Err(GraphFault {
                offset: name.start as usize,
                reason: "a reference to a node that is not there",
            }),
        }
    }
}

/// The fields of a message that has only numbers and strings; of a number that is no id, `u32::MAX` is passed.
fn each(bytes: &[u8], base: usize, mut field: impl FnMut(u64, u32, Text)) -> Result<(), GraphFault> {
    let mut fields = Fields::new(bytes, base);
    while let Some((tag, value)) = fields.next()? {
        match value {
            Value::Varint(number) => field(tag, u32::try_from(number).unwrap_or(u32::MAX), Text::default()),
            Value::Bytes(text, start) => {
                if std::str::from_utf8(text).is_err() {
                    return Err(GraphFault {
                        offset: start,
                        reason: "a name that is not UTF-8",
                    });
                }
                let text = Text {
                    start: count(start),
                    len: count(text.len()),
                };
                field(tag, u32::MAX, text);
            }
            Value::Fixed => {}
        }
    }
    Ok(())
}

/// No table has more entries than the graph has bytes, and those are fewer than 2^32.
fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
