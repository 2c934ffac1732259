//! What every target does with the bytes that it is given: opens them as a checkpoint and reads all that is there.

use std::sync::Arc;

use tfckpt::io::MemoryDir;
use tfckpt::{Bundle, DType, Limits, Slice};

/// Files in memory, read as the checkpoint `name`.
pub fn read_all(name: &str, files: &[(&str, &[u8])]) {
    let storage = MemoryDir::new();
    for (name, bytes) in files {
        storage.insert(*name, *bytes);
    }
    let Ok(bundle) = Bundle::open(Arc::new(storage), name, &Limits::default().with_threads(1)) else {
        return;
    };
    // Many variables may lie at the same place: each read is bounded by the files, their number is not.
    for info in bundle.variables().take(100) {
        let _ = bundle.verify(info);
        let _ = bundle.read_bytes(info.key());
        let first = Slice::new(info.shape().dims().iter().map(|&dim| Some(0..dim.min(1))));
        let _ = bundle.read_slice_bytes(info.key(), &first);
        if info.dtype() == DType::String {
            let _ = bundle.read_strings(info.key());
        }
    }
    // The same together, as a restore reads them.
    let some: Vec<_> = bundle.variables().take(100).collect();
    let _ = bundle.verify_all(&some);
    let _ = bundle.read_each(&some, |_, reading| reading.read::<u8>());
    for (key, _) in bundle.faults().take(100) {
        assert!(bundle.read_bytes(key).is_err());
    }
}

/// A table of one block of these bytes, in which no checksum is right: the library does not look at them under a
/// fuzzer.
#[allow(dead_code, reason = "each target includes this file")]
pub fn table_of_block(contents: &[u8], kind: u8) -> Vec<u8> {
    let mut file = contents.to_vec();
    file.extend([kind, 0, 0, 0, 0]);
    let index_at = file.len();
    let mut index = vec![0, 1];
    let mut handle = vec![0];
    handle.extend(varint(contents.len()));
    index.push(handle.len() as u8);
    index.push(0xff);
    index.extend(handle);
    index.extend([0, 0, 0, 0, 1, 0, 0, 0]);
    let index_len = index.len();
    file.extend(index);
    file.extend([0, 0, 0, 0, 0]);
    let mut footer = vec![0, 0];
    footer.extend(varint(index_at));
    footer.extend(varint(index_len));
    footer.resize(40, 0);
    file.extend(footer);
    file.extend(0xdb47_7524_8b80_fb57u64.to_le_bytes());
    file
}

/// One entry of a block.
#[allow(dead_code, reason = "each target includes this file")]
pub fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut record = vec![0];
    record.extend(varint(key.len()));
    record.extend(varint(value.len()));
    record.extend_from_slice(key);
    record.extend_from_slice(value);
    record
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
