//! Any bytes as a compressed block of an index; and any block, compressed as it should be.
#![no_main]

mod common;

use common::table_of_block;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let data = [7; 4096];
    common::read_all(
        "m",
        &[("m.index", &table_of_block(bytes, 1)), ("m.data-00000-of-00001", &data)],
    );
    if let Ok(compressed) = snap::raw::Encoder::new().compress_vec(bytes) {
        let index = table_of_block(&compressed, 1);
        common::read_all("m", &[("m.index", &index), ("m.data-00000-of-00001", &data)]);
    }
});
