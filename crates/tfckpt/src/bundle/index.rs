//! The index file as its entries, without looking at what they say: to write one, and to merge several.

use prost::Message;

use super::entries::Entries;
use super::header::{Header, read_index};
use super::{Endianness, index_name};
use crate::error::{EntryFault, Error, Result, TableError};
use crate::io::{Durability, Storage, write_file};
use crate::limits::Limits;
use crate::proto::{BundleEntryProto, BundleHeaderProto, VersionDef};
use crate::table::{Table, TableWriter};

/// Writes and publishes the index of `prefix`: from then on the checkpoint exists. The data files must have their names
/// already.
pub(crate) fn write_index(
    storage: &dyn Storage,
    prefix: &str,
    num_shards: u32,
    entries: &Entries,
    durability: Durability,
) -> Result<()> {
    let name = index_name(prefix);
    let fails = |action| move |error| Error::io(action, storage.path(&index_name(prefix)), error);
    let mut table = TableWriter::new(Vec::new());
    let header = BundleHeaderProto {
        num_shards: i32::try_from(num_shards).unwrap_or(i32::MAX),
        endianness: 0,
        version: Some(VersionDef {
            producer: 1,
            ..Default::default()
        }),
    };
    let written = (|| {
        table.add(b"", &header.encode_to_vec())?;
        let mut value = Vec::new();
        for (key, entry) in entries.iter() {
            value.clear();
            // A vector grows as it must.
            let _ = entry.encode(&mut value);
            table.add(key, &value)?;
        }
        write_file(storage, &name, &table.finish()?, durability)
    })();
    written.map_err(fails("write"))?;
    sync(storage, durability).map_err(fails("sync"))
}

/// Makes names that were given survive a power cut, if that is asked for.
pub(crate) fn sync(storage: &dyn Storage, durability: Durability) -> std::io::Result<()> {
    match durability {
        Durability::Synced => storage.sync(),
        Durability::Buffered => Ok(()),
    }
}

/// An index as it is stored.
pub(crate) struct StoredIndex {
    pub(crate) num_shards: u32,
    pub(crate) endianness: Endianness,
    /// In the order of their keys.
    pub(crate) entries: Vec<(Vec<u8>, BundleEntryProto)>,
}

/// Reads the index of `prefix`.
pub(crate) fn read_entries(storage: &dyn Storage, prefix: &str, limits: &Limits) -> Result<StoredIndex> {
    let name = index_name(prefix);
    let file = read_index(storage, &name, prefix, limits)?;
    let corrupt = |fault| Error::CorruptIndex {
        path: storage.path(&name),
        fault,
    };
    let mut header = None;
    let mut entries = Vec::new();
    let table = Table::open(&file).map_err(corrupt)?;
    let visited = table.for_each(|key, value| {
        if header.is_none() {
            header = Some(Header::parse(key, value)?);
            return Ok(());
        }
        entries.push((key.to_vec(), BundleEntryProto::decode(value)));
        Ok(())
    });
    visited.map_err(corrupt)?;
    let header = header.ok_or_else(|| {
        corrupt(TableError::NoHeader {
            reason: "the table is empty",
        })
    })?;
    let parsed = entries.into_iter().map(|(key, entry)| match entry {
        Ok(entry) => Ok((key, entry)),
        Err(_) => Err(Error::CorruptEntry {
            path: storage.path(&name),
            name: String::from_utf8_lossy(&key).into_owned(),
            fault: EntryFault::Unparsable,
        }),
    });
    Ok(StoredIndex {
        num_shards: header.num_shards,
        endianness: header.endianness,
        entries: parsed.collect::<Result<_>>()?,
    })
}
