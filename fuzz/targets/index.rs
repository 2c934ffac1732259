//! Any bytes as an index file, beside a data file of 64 KiB.
#![no_main]

mod common;

libfuzzer_sys::fuzz_target!(|index: &[u8]| {
    common::read_all("m", &[("m.index", index), ("m.data-00000-of-00001", &[7; 65536])]);
});
