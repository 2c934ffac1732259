//! Any bytes as an object graph.
#![no_main]

use tfckpt::objects::ObjectGraph;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(graph) = ObjectGraph::parse(bytes) else {
        return;
    };
    for node in graph.nodes().take(100) {
        let _ = (node.path(), node.children().count(), node.variable());
    }
    for variable in graph.variables().take(100) {
        let name = variable.name();
        let _ = (graph.find(&name), graph.find(variable.key()), variable.object_path());
        assert!(graph.with_key(variable.key()).is_some());
    }
    let _ = graph.find("model/conv1/kernel");
});
