//! The fixtures that TensorFlow wrote, and what must be found in them.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

/// A file or folder of `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The expectations of a case.
#[allow(dead_code, reason = "not every test binary has cases")]
pub(crate) fn expected(case: &str) -> Value {
    let path = fixture(case).join("expected.json");
    serde_json::from_slice(&std::fs::read(&path).expect("every case has an expected.json")).expect("valid JSON")
}

/// The hash in the form of the expectations.
#[allow(dead_code, reason = "not every test binary compares hashes")]
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
