//! Tables and messages made by hand, so that they can lie.

/// A field of a protocol buffer message with a number in it.
pub(crate) fn number(field: u32, value: u64) -> Vec<u8> {
    let mut bytes = varint(u64::from(field) << 3);
    bytes.extend(varint(value));
    bytes
}

/// A field with bytes in it.
pub(crate) fn bytes(field: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = varint(u64::from(field) << 3 | 2);
    bytes.extend(varint(value.len() as u64));
    bytes.extend_from_slice(value);
    bytes
}

pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A `TensorShapeProto`.
pub(crate) fn shape(dims: &[u64]) -> Vec<u8> {
    dims.iter().flat_map(|&dim| bytes(2, &number(1, dim))).collect()
}

/// A header of a bundle with so many data files.
pub(crate) fn header(num_shards: u64) -> Vec<u8> {
    [number(1, num_shards), bytes(3, &number(1, 1))].concat()
}

/// A `BundleEntryProto` that is stored whole, with the checksum of no bytes.
pub(crate) fn entry(dtype: u64, dims: &[u64], offset: u64, size: u64) -> Vec<u8> {
    let mut entry = number(1, dtype);
    entry.extend(bytes(2, &shape(dims)));
    entry.extend(number(4, offset));
    entry.extend(number(5, size));
    entry.extend([0x35, 0xd8, 0xea, 0x82, 0xa2]);
    entry
}

/// A table of one block with these entries, whose checksums are right.
pub(crate) fn table(entries: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
    let raw = entries.iter().flat_map(|(key, value)| record(0, key, value)).collect();
    table_of_block(raw, 0)
}

/// An entry of a block that shares so many bytes of its key with the one before.
pub(crate) fn record(shared: usize, key: &[u8], value: &[u8]) -> Vec<u8> {
    let lengths = [shared, key.len(), value.len()].map(|len| varint(len as u64)).concat();
    [&lengths, key, value].concat()
}

/// A table of one block: its records, and the way in which they are compressed.
pub(crate) fn table_of_block(mut records: Vec<u8>, kind: u8) -> Vec<u8> {
    let restarts = [0, 0, 0, 0, 1, 0, 0, 0];
    if kind == 0 {
        records.extend(restarts);
    }
    let mut file = Vec::new();
    let data = store(&mut file, &records, kind);
    let metaindex = store(&mut file, &restarts, 0);
    let index = store(&mut file, &[record(0, b"\xff", &data), restarts.to_vec()].concat(), 0);
    let mut footer = [metaindex, index].concat();
    footer.resize(40, 0);
    file.extend(footer);
    file.extend(0xdb47_7524_8b80_fb57u64.to_le_bytes());
    file
}

/// Appends a block. Its handle.
fn store(file: &mut Vec<u8>, contents: &[u8], kind: u8) -> Vec<u8> {
    let handle = [varint(file.len() as u64), varint(contents.len() as u64)].concat();
    file.extend_from_slice(contents);
    file.push(kind);
    let crc = crc32c::crc32c_append(crc32c::crc32c(contents), &[kind]);
    file.extend(crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes());
    handle
}
