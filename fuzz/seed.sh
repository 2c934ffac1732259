#!/usr/bin/env bash
# Fills the corpora from the fixtures, as far as these are small. The files are named by what is in them.
set -euo pipefail
cd "$(dirname "$0")/.."

seed() {
    local target=$1 file
    shift
    mkdir -p "fuzz/corpus/$target"
    for file in "$@"; do
        [[ $(stat -c %s "$file") -le 10000 ]] || continue
        cp "$file" "fuzz/corpus/$target/$(sha256sum "$file" | cut -c1-16)"
    done
}

shopt -s globstar
seed index tests/fixtures/**/*.index
seed snappy tests/fixtures/crafted_snappy/*.index
seed v1 tests/fixtures/v1/model.ckpt-12 tests/fixtures/v1_sharded/model.ckpt-*
seed state_file tests/fixtures/**/checkpoint tests/fixtures/state_files/*.checkpoint
seed strings tests/fixtures/strings/*.data-* tests/fixtures/variant/*.data-*
# The graphs that the expectations of the fixtures hold.
python3 - <<'PYTHON'
import glob, hashlib, json, os
os.makedirs("fuzz/corpus/object_graph", exist_ok=True)
for path in glob.glob("tests/fixtures/*/expected.json"):
    for variables in (json.load(open(path)).get("checkpoints") or {}).values():
        for graph in variables.get("_CHECKPOINTABLE_OBJECT_GRAPH", {}).get("values_hex", []):
            graph = bytes.fromhex(graph)
            if len(graph) <= 10000:
                open(f"fuzz/corpus/object_graph/{hashlib.sha256(graph).hexdigest()[:16]}", "wb").write(graph)
PYTHON
# The entry of a float32 [4, 3] in two slices, and of one that is whole.
mkdir -p fuzz/corpus/entries
printf '\x08\x01\x12\x08\x12\x02\x08\x04\x12\x02\x08\x03\x3a\x06\x0a\x02\x10\x02\x0a\x00\x3a\x08\x0a\x04\x08\x02\x10\x02\x0a\x00' > fuzz/corpus/entries/partitioned
printf '\x08\x01\x12\x08\x12\x02\x08\x02\x12\x02\x08\x03\x28\x18\x35\xc0\xdb\x3d\x17' > fuzz/corpus/entries/whole
seed meta tests/fixtures/**/*.meta
