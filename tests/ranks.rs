//! The ranks of the codec's modules: a file imports only its own rank or a lower one.

use std::fs;
use std::path::{Path, PathBuf};

/// From the lowest rank to the highest.
const RANKS: [&[&str]; 8] = [
    &[
        "error",
        "dtype",
        "shape",
        "slice",
        "tensor",
        "layout",
        "limits",
        "optimizers",
        "parallel",
        "suggest",
    ],
    &["bytes", "proto"],
    &["io"],
    &["table"],
    &["bundle"],
    &["meta", "objects"],
    &["checkpoint", "map"],
    &["training"],
];

/// Imports against the ranks, each with its reason.
const EXCEPTIONS: [(&str, &str); 4] = [
    // The one error type of the crate carries the report of a failed load, and a signal.
    ("error", "map"),
    ("error", "training"),
    // A variable's bytes are little-endian, whatever the machine is.
    ("tensor", "bytes"),
    // A layout fills memory that nothing was written to before.
    ("layout", "bytes"),
];

fn rank(module: &str) -> Option<usize> {
    RANKS.iter().position(|modules| modules.contains(&module))
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => sources(&path, found),
            false if path.extension().is_some_and(|e| e == "rs") => found.push(path),
            false => {}
        }
    }
}

#[test]
fn files_of_the_codec_import_only_their_own_rank_or_a_lower_one() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/tfckpt/src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 30);
    for file in files {
        let relative = file.strip_prefix(&src).unwrap();
        let module = relative
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let own = rank(module).unwrap_or_else(|| panic!("`{module}` has no rank"));
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for import in code.split("crate::").skip(1) {
            let name: String = import
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            let Some(imported) = rank(&name) else { continue };
            let excepted = EXCEPTIONS.contains(&(module, name.as_str()));
            assert!(
                imported <= own || excepted,
                "{} imports `{name}`, which ranks higher",
                relative.display()
            );
        }
    }
}

#[test]
fn unsafe_code_is_denied_and_no_foreign_type_is_public() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"deny\""));
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/tfckpt/src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let proto = file.components().any(|part| part.as_os_str() == "proto");
        let uses_prost = text
            .lines()
            .any(|line| line.contains("pub fn") && line.contains("prost"));
        assert!(proto || !uses_prost, "{} shows prost to the world", file.display());
    }
}
