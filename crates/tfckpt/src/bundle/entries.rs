//! The entries of an index that is being made, by key.

use std::collections::BTreeMap;

use crate::proto::BundleEntryProto;

/// Entries by key. They mostly come in the order of their keys, and are then only put one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    ordered: Vec<(Vec<u8>, BundleEntryProto)>,
    /// Those that came behind a larger key.
    late: BTreeMap<Vec<u8>, BundleEntryProto>,
}

/// Where an entry is.
#[derive(Debug)]
pub(crate) enum EntryId {
    Ordered(usize),
    Late(Vec<u8>),
}

impl Entries {
    pub(crate) fn len(&self) -> usize {
        self.ordered.len() + self.late.len()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&BundleEntryProto> {
        match self.position(key) {
            Some(at) => self.ordered.get(at).map(|(_, entry)| entry),
            None => self.late.get(key),
        }
    }

    pub(crate) fn get_mut(&mut self, key: &[u8]) -> Option<&mut BundleEntryProto> {
        match self.position(key) {
            Some(at) => self.ordered.get_mut(at).map(|(_, entry)| entry),
            None => self.late.get_mut(key),
        }
    }

    /// Adds an entry, whose key has none yet.
    pub(crate) fn insert(&mut self, key: Vec<u8>, entry: BundleEntryProto) -> EntryId {
        debug_assert!(self.get(&key).is_none());
        if self.is_behind_all(&key) {
            self.ordered.push((key, entry));
            return EntryId::Ordered(self.ordered.len() - 1);
        }
        self.late.insert(key.clone(), entry);
        EntryId::Late(key)
    }

    /// The entry that [`insert`](Self::insert) added.
    pub(crate) fn entry_mut(&mut self, id: &EntryId) -> Option<&mut BundleEntryProto> {
        match id {
            EntryId::Ordered(at) => self.ordered.get_mut(*at).map(|(_, entry)| entry),
            EntryId::Late(key) => self.late.get_mut(key),
        }
    }

    /// All entries, in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &BundleEntryProto)> {
        let ordered = self.ordered.iter().map(|(key, entry)| (key.as_slice(), entry));
        let late = self.late.iter().map(|(key, entry)| (key.as_slice(), entry));
        let mut all: Vec<_> = ordered.chain(late).collect();
        if !self.late.is_empty() {
            all.sort_by_key(|(key, _)| *key);
        }
        all.into_iter()
    }

    /// The number of variables: the slices of a partitioned one count, and not the whole.
    pub(crate) fn variables(&self) -> usize {
        let ordered = self.ordered.iter().map(|(_, entry)| entry);
        let all = ordered.chain(self.late.values());
        all.filter(|entry| entry.slices.is_empty()).count()
    }

    fn is_behind_all(&self, key: &[u8]) -> bool {
        self.ordered.last().is_none_or(|(last, _)| last.as_slice() < key)
    }

    fn position(&self, key: &[u8]) -> Option<usize> {
        if self.is_behind_all(key) {
            return None;
        }
        self.ordered
            .binary_search_by(|(there, _)| there.as_slice().cmp(key))
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_in_whatever_order_they_come() {
        let mut entries = Entries::default();
        for (key, size) in [("b", 1), ("d", 2), ("a", 3), ("e", 4), ("c", 5)] {
            assert_eq!(entries.get(key.as_bytes()), None);
            let id = entries.insert(key.into(), BundleEntryProto::default());
            entries.entry_mut(&id).unwrap().size = size;
        }
        assert_eq!((entries.len(), entries.variables()), (5, 5));
        assert_eq!(entries.get(b"c").unwrap().size, 5);
        entries.get_mut(b"d").unwrap().size = 7;
        let all: Vec<(&[u8], i64)> = entries.iter().map(|(key, entry)| (key, entry.size)).collect();
        assert_eq!(all, [(b"a".as_slice(), 3), (b"b", 1), (b"c", 5), (b"d", 7), (b"e", 4)]);
    }
}
