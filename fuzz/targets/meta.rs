//! Any bytes as a `.meta` file.
#![no_main]

use tfckpt::{AttrValue, Limits, MetaGraph};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(graph) = MetaGraph::parse(bytes, &Limits::default()) else {
        return;
    };
    assert_eq!(graph.to_bytes(), bytes);
    let _ = (graph.variables(), graph.saver(), graph.ops(), graph.tags());
    let _ = graph.collections().count() + graph.signatures().count();
    for node in graph.nodes() {
        for (_, value) in node.attrs() {
            if let AttrValue::Tensor(tensor) = value {
                let _ = (tensor.shape(), tensor.strings().len(), tensor.to_bytes(1 << 20));
            }
        }
    }
});
