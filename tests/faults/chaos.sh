#!/usr/bin/env bash
# A second opinion: ckpt-chaos of PyPI, in an environment of its own, kills both examples at each of their file operations, or
# sends SIGTERM there, resumes them, and judges by rules of its own. Takes some minutes; Linux on x86-64.
#   tests/faults/chaos.sh [POINTS]    at most so many points in each example; default: all
set -euo pipefail
cd "$(dirname "$0")/../.."
points=${1:-1000}

venv=target/chaos/venv
requirement=ckpt-chaos==0.1.8
if ! "$venv/bin/pip" freeze 2>/dev/null | grep -qx "$requirement"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$requirement"
fi

cargo build --quiet --release --example candle_digits --example burn_digits
target=${CARGO_TARGET_DIR:-target}/release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export RAYON_NUM_THREADS=1

for example in candle_digits burn_digits; do
    echo "== $example"
    "$venv/bin/ckpt-chaos" run --work "$work/$example" --jobs "$(nproc)" --modes before,term --grace 60 --max-points "$points" \
        --step-regex 'resumed at step (\d+)' --checkpoint-glob '{out}/model.ckpt-*.index' \
        --result-file '{out}/model.ckpt-30.data-00000-of-00001' --fail-on HARD_FAIL,SILENT_DIVERGENCE,CONTROL_FAIL \
        -- "$venv/bin/python" tests/faults/native.py "$target/examples/$example" --dir '{out}' --epochs 1 --every-steps 5
done
