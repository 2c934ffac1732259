//! Any bytes as the payload of strings or variants: the first byte says which, and how many.
#![no_main]

mod common;

use common::{record, table_of_block};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&first, payload)) = bytes.split_first() else {
        return;
    };
    let (dtype, count) = (if first & 1 == 0 { 7 } else { 21 }, first >> 1);
    let mut entry = vec![0x08, dtype, 0x12, 0x04, 0x12, 0x02, 0x08, count, 0x28];
    let mut size = payload.len();
    while size >= 0x80 {
        entry.push(size as u8 | 0x80);
        size >>= 7;
    }
    entry.push(size as u8);
    let mut records = record(b"", &[0x08, 0x01]);
    records.extend(record(b"s", &entry));
    records.extend([0, 0, 0, 0, 1, 0, 0, 0]);
    let index = table_of_block(&records, 0);
    common::read_all("m", &[("m.index", &index), ("m.data-00000-of-00001", payload)]);
});
