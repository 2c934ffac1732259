//! Any bytes as the entry of a variable, in a table that is sound, with two slices beside it.
#![no_main]

mod common;

use common::{record, table_of_block};

libfuzzer_sys::fuzz_target!(|entry: &[u8]| {
    let header = [0x08, 0x01, 0x1a, 0x02, 0x08, 0x01];
    // Rows 0 and 1, and rows 2 and 3, of a float32 `v`.
    let slice = [
        0x08, 0x01, 0x12, 0x08, 0x12, 0x02, 0x08, 0x02, 0x12, 0x02, 0x08, 0x03, 0x28, 0x18,
    ];
    let mut records = record(b"", &header);
    records.extend(record(
        &[0x00, 0x76, 0x00, 0x01, 0x01, 0x02, 0x80, 0x82, 0x80, 0x7f],
        &slice,
    ));
    records.extend(record(
        &[0x00, 0x76, 0x00, 0x01, 0x01, 0x02, 0x82, 0x82, 0x80, 0x7f],
        &slice,
    ));
    records.extend(record(b"v", entry));
    records.extend([0, 0, 0, 0, 1, 0, 0, 0]);
    let index = table_of_block(&records, 0);
    common::read_all("m", &[("m.index", &index), ("m.data-00000-of-00001", &[7; 4096])]);
});
