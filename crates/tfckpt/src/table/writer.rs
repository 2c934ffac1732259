//! Writing a table, byte for byte as TensorFlow's `TableBuilder` does.

use std::io::{self, Write};

use super::block::BlockBuilder;
use super::{FOOTER_LEN, Handle, MAGIC};
use crate::bytes::{Crc, put_fixed32};

/// The options that TensorFlow's bundle writer uses; other values are readable, but not byte-identical.
const BLOCK_SIZE: usize = 262_144;
const RESTART_INTERVAL: usize = 16;

/// Writes entries in ascending order of their keys.
#[derive(Debug)]
pub(crate) struct TableWriter<W> {
    out: W,
    offset: u64,
    data: BlockBuilder,
    index: BlockBuilder,
    entries: u64,
    last_key: Vec<u8>,
    /// The last written block, whose index key is known only with the key that follows it.
    pending: Option<Handle>,
}

impl<W: Write> TableWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        TableWriter {
            out,
            offset: 0,
            data: BlockBuilder::new(RESTART_INTERVAL),
            index: BlockBuilder::new(1),
            entries: 0,
            last_key: Vec::new(),
            pending: None,
        }
    }

    /// Adds an entry. The caller sorts: keys must be strictly ascending.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        debug_assert!(self.entries == 0 || key > self.last_key.as_slice());
        // An entry as large as two blocks gets one of its own.
        if self.entries > 0 && key.len() + value.len() >= 2 * BLOCK_SIZE {
            self.flush()?;
        }
        if let Some(handle) = self.pending.take() {
            self.index_block(&separator(&self.last_key, key), handle);
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.entries += 1;
        self.data.add(key, value);
        if self.data.size() >= BLOCK_SIZE {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is left, the index and the footer, and gives the writer back.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        let metaindex = self.write_block(BlockBuilder::new(RESTART_INTERVAL).finish())?;
        if let Some(handle) = self.pending.take() {
            self.index_block(&successor(&self.last_key), handle);
        }
        let contents = self.index.finish();
        let index = self.write_block(contents)?;

        let mut footer = Vec::with_capacity(FOOTER_LEN);
        metaindex.encode(&mut footer);
        index.encode(&mut footer);
        footer.resize(FOOTER_LEN - 8, 0);
        footer.extend_from_slice(&MAGIC.to_le_bytes());
        self.out.write_all(&footer)?;
        Ok(self.out)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.data.is_empty() {
            let contents = self.data.finish();
            self.pending = Some(self.write_block(contents)?);
        }
        Ok(())
    }

    fn index_block(&mut self, key: &[u8], handle: Handle) {
        let mut value = Vec::new();
        handle.encode(&mut value);
        self.index.add(key, &value);
    }

    fn write_block(&mut self, mut contents: Vec<u8>) -> io::Result<Handle> {
        let handle = Handle {
            offset: self.offset,
            size: contents.len() as u64,
        };
        contents.push(0);
        let crc = Crc::of(&contents).masked();
        put_fixed32(&mut contents, crc.0);
        self.out.write_all(&contents)?;
        self.offset += contents.len() as u64;
        Ok(handle)
    }
}

/// A short key `k` with `a <= k < b`.
fn separator(a: &[u8], b: &[u8]) -> Vec<u8> {
    let common = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    match (a.get(common), b.get(common)) {
        (Some(&x), Some(&y)) if x < 0xff && x + 1 < y => {
            let mut key = a.get(..common).unwrap_or_default().to_vec();
            key.push(x + 1);
            key
        }
        _ => a.to_vec(),
    }
}

/// A short key not smaller than `a`.
fn successor(a: &[u8]) -> Vec<u8> {
    let mut key = a.to_vec();
    match a.iter().position(|&byte| byte != 0xff) {
        Some(i) => {
            key.truncate(i + 1);
            if let Some(last) = key.last_mut() {
                *last += 1;
            }
            key
        }
        None => key,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::table::Table;

    #[test]
    fn separators_and_successors_are_those_of_tensorflow() {
        assert_eq!(separator(b"abc", b"abe"), b"abd");
        assert_eq!(separator(b"abc", b"abd"), b"abc");
        assert_eq!(separator(b"a", b"c"), b"b");
        assert_eq!(separator(b"a\xff", b"b"), b"a\xff");
        assert_eq!(successor(b"abc"), b"b");
        assert_eq!(successor(b"y0"), b"z");
        assert_eq!(successor(b"\xff\xffa"), b"\xff\xffb");
        assert_eq!(successor(b"\xff\xff"), b"\xff\xff");
        assert_eq!(successor(b""), b"");
    }

    fn write(entries: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
        let mut table = TableWriter::new(Vec::new());
        for (key, value) in entries {
            table.add(key, value).unwrap();
        }
        table.finish().unwrap()
    }

    fn read(file: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut entries = BTreeMap::new();
        let visit = |key: &[u8], value: &[u8]| {
            entries.insert(key.to_vec(), value.to_vec());
            Ok(())
        };
        Table::open(file).unwrap().for_each(visit).unwrap();
        entries
    }

    #[test]
    fn entries_larger_than_a_block_survive() {
        let big = vec![7u8; 3 * BLOCK_SIZE];
        let entries = [
            ("", vec![1]),
            ("a", big.clone()),
            ("b", vec![2]),
            ("c", big),
            ("d", vec![]),
        ];
        let entries = entries.map(|(key, value)| (key.as_bytes().to_vec(), value)).into();
        assert_eq!(read(&write(&entries)), entries);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..Default::default() })]

        #[test]
        fn a_table_is_a_sorted_map(entries in proptest::collection::btree_map(
            proptest::collection::vec(prop_oneof![Just(0xffu8), Just(0), Just(b'a'), any::<u8>()], 0..40),
            proptest::collection::vec(any::<u8>(), 0..3000), 1..400,
        )) {
            prop_assert_eq!(read(&write(&entries)), entries);
        }

        #[test]
        fn any_damaged_byte_is_noticed_or_harmless(position in 0usize..1000, flip in 1u8..=255) {
            let entries = (0..20u8).map(|i| (vec![i], vec![i; 5])).collect();
            let good = write(&entries);
            let mut bad = good.clone();
            let position = position % bad.len();
            bad[position] ^= flip;
            if let Ok(table) = Table::open(&bad) {
                let mut found = BTreeMap::new();
                let end = table.for_each(|key, value| {
                    found.insert(key.to_vec(), value.to_vec());
                    Ok(())
                });
                prop_assert!(end.is_err() || found == entries);
            }
        }
    }
}
