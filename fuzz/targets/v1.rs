//! Any bytes as a file of the V1 format; and as the two records of one.
#![no_main]

mod common;

use common::{record, table_of_block};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    common::read_all("m", &[("m", bytes)]);
    let half = bytes.len() / 2;
    let mut records = record(b"", &bytes[..half]);
    // A variable `a` of two dimensions, stored whole.
    records.extend(record(
        &[0x00, 0x61, 0x00, 0x01, 0x01, 0x02, 0x80, 0x7f, 0x80, 0x7f],
        &bytes[half..],
    ));
    records.extend([0, 0, 0, 0, 1, 0, 0, 0]);
    common::read_all("m", &[("m", &table_of_block(&records, 0))]);
});
