//! Graphs built by hand: a few fields of protocol buffers.
#![allow(dead_code, reason = "each test uses a part of it")]

/// A field with a length.
pub(crate) fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, field << 3 | 2);
    varint(&mut out, value.len() as u64);
    out.extend_from_slice(value);
    out
}

/// A number.
pub(crate) fn number(field: u64, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, field << 3);
    varint(&mut out, value);
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        out.push((value & 127) as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

/// An attribute, of which `value` are the bytes.
pub(crate) fn attr(key: &str, value: &[u8]) -> Vec<u8> {
    bytes(5, &[bytes(1, key.as_bytes()), bytes(2, value)].concat())
}

/// A dtype attribute.
pub(crate) fn dtype(key: &str, number_of: u64) -> Vec<u8> {
    attr(key, &number(6, number_of))
}

/// A constant: dtype, dimensions, and the bytes of its elements.
pub(crate) fn constant(name: &str, number_of: u64, dims: &[u64], content: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|dim| bytes(2, &number(1, *dim))).collect();
    let tensor = [number(1, number_of), bytes(2, &dims), bytes(4, content)].concat();
    node(
        name,
        "Const",
        &[],
        &[dtype("dtype", number_of), attr("value", &bytes(8, &tensor))],
    )
}

/// A node.
pub(crate) fn node(name: &str, op: &str, inputs: &[&str], attrs: &[Vec<u8>]) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|input| bytes(3, input.as_bytes())).collect();
    let fields = [
        bytes(1, name.as_bytes()),
        bytes(2, op.as_bytes()),
        inputs,
        attrs.concat(),
    ];
    bytes(1, &fields.concat())
}

/// A `MetaGraphDef` of nodes.
pub(crate) fn meta_graph(nodes: &[Vec<u8>]) -> Vec<u8> {
    bytes(2, &nodes.concat())
}
