//! The lists of operations that people are shown are those that there are.

mod support;

use support::repository;
use tfckpt_session::supported_ops;

#[test]
fn the_command_knows_the_operations_that_sessions_run() {
    let path = repository("crates/tfckpt-cli/src/graph_ops.txt");
    let wanted = supported_ops().join("\n") + "\n";
    if std::env::var_os("TFCKPT_BLESS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap();
    assert_eq!(known, wanted, "write it anew with TFCKPT_BLESS=1");
}

#[test]
fn the_document_names_every_operation() {
    let document = std::fs::read_to_string(repository("docs/session.md")).unwrap();
    let missing: Vec<String> = supported_ops()
        .into_iter()
        .filter(|op| !document.contains(&format!("`{op}`")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
