//! OrderedCode: numbers and strings as bytes that sort as they do. The keys of slices are written in it.
//!
//! Source: `tensorflow/core/lib/strings/ordered_code.cc`, `tensorflow/core/util/saved_tensor_slice_util.cc`.

/// The key under which one slice of a variable is stored: 0, the name, the rank, then start and length of each
/// dimension. A length of -1 stands for the whole dimension.
pub(crate) fn slice_key(name: &[u8], extents: &[(i64, i64)]) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 8 + 4 * extents.len());
    put_number(&mut key, 0);
    put_string(&mut key, name);
    put_number(&mut key, extents.len() as u64);
    for &(start, length) in extents {
        put_signed(&mut key, start);
        put_signed(&mut key, length);
    }
    key
}

/// The number of bytes that are not 0 in front, and these bytes, most significant first.
fn put_number(out: &mut Vec<u8>, value: u64) {
    let bytes = value.to_be_bytes();
    let leading = (0u8..8).zip(bytes).find(|(_, byte)| *byte != 0).map_or(8, |(at, _)| at);
    let bytes = bytes.get(usize::from(leading)..).unwrap_or_default();
    out.push(8 - leading);
    out.extend_from_slice(bytes);
}

/// The bytes, with 0 as `00 ff` and 255 as `ff 00`, and `00 01` at the end.
fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            0x00 => out.extend_from_slice(&[0x00, 0xff]),
            0xff => out.extend_from_slice(&[0xff, 0x00]),
            _ => out.push(byte),
        }
    }
    out.extend_from_slice(&[0x00, 0x01]);
}

/// As many bytes as the value needs, most significant first, with their number in unary in the first bits; all bits
/// of that header are flipped by the sign.
fn put_signed(out: &mut Vec<u8>, value: i64) {
    let magnitude = if value < 0 { !value } else { value };
    // Each byte more brings 7 bits, of which the first is the sign's.
    let len = (1..10).find(|&len| magnitude >> (7 * len - 1) == 0).unwrap_or(10);
    let sign_extension = if value < 0 { 0xff } else { 0 };
    let mut wide = [sign_extension; 10];
    let [_, _, low @ ..] = &mut wide;
    *low = value.to_be_bytes();
    // `len` ones, then a zero, from the top bit on; for one byte the zero is the sign's.
    let header = !(u16::MAX.checked_shr(len).unwrap_or(0));
    let [first, second] = header.to_be_bytes();
    let start = wide.len() - len as usize;
    let mut bytes = wide.get(start..).unwrap_or_default().to_vec();
    for (byte, mask) in bytes.iter_mut().zip([first, second]) {
        *byte ^= mask;
    }
    out.extend_from_slice(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_bytes_of_the_format_document() {
        let cases: [(i64, &[u8]); 13] = [
            (0, &[0x80]),
            (1, &[0x81]),
            (-1, &[0x7f]),
            (63, &[0xbf]),
            (64, &[0xc0, 0x40]),
            (-64, &[0x40]),
            (-65, &[0x3f, 0xbf]),
            (8191, &[0xdf, 0xff]),
            (8192, &[0xe0, 0x20, 0x00]),
            (1 << 20, &[0xf0, 0x10, 0, 0]),
            (1 << 27, &[0xf8, 0x08, 0, 0, 0]),
            (1 << 55, &[0xff, 0x80, 0x80, 0, 0, 0, 0, 0, 0]),
            (1 << 62, &[0xff, 0xc0, 0x40, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for (value, expected) in cases {
            let mut bytes = Vec::new();
            put_signed(&mut bytes, value);
            assert_eq!(bytes, expected, "{value}");
        }
    }

    #[test]
    fn a_slice_key_has_the_bytes_of_the_format_document() {
        let expected = [0x00, 0x76, 0x00, 0x01, 0x01, 0x02, 0x80, 0x82, 0x80, 0x7f];
        assert_eq!(slice_key(b"v", &[(0, 2), (0, -1)]), expected);
        assert_eq!(slice_key(b"sc", &[]), [0x00, 0x73, 0x63, 0x00, 0x01, 0x00]);
        let odd = [0x00, 0x00, 0xff, 0xff, 0x00, 0x00, 0x01, 0x00];
        assert_eq!(slice_key(&[0x00, 0xff], &[]), odd);
    }
}
