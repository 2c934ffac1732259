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
    let count = format!("{} operations.", supported_ops().len());
    assert!(document.contains(&count), "docs/session.md does not say: {count}");
    // Nor does it name one that there is not.
    let all = supported_ops();
    let table = document.split("| family | operations |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let named = rows.flat_map(|row| row.split('|').nth(2).unwrap_or_default().split(','));
    for name in named {
        let name = name.trim().trim_matches('`');
        assert!(all.iter().any(|op| op == name), "{name} is not supported");
    }
}
