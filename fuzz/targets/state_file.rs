//! Any bytes as a `checkpoint` state file.
#![no_main]

use std::path::Path;

use tfckpt::CheckpointState;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let _ = CheckpointState::parse(text, Path::new("checkpoint"));
});
