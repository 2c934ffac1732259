#!/usr/bin/env bash
# Compares this project with TensorFlow, safetensors, burnpack and the machine itself, and writes benches/results.json,
# benches/RESULTS.md and benches/results.svg. Wants 16 GB of memory, 10 GB of disk and a machine that does nothing else.
#   benches/compare/run.sh [--repeats N] [--only a,b,…] [--quick]
set -euo pipefail
cd "$(dirname "$0")/../.."

# The environment of tests/interop/run.sh, so that TensorFlow is fetched once.
venv=target/interop/venv
if ! cmp -s tests/interop/requirements.txt "$venv/requirements.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/interop/requirements.txt
    cp tests/interop/requirements.txt "$venv/requirements.txt"
fi

cargo build --quiet --release -p tfckpt-compare
export TFCKPT_COMPARE="${CARGO_TARGET_DIR:-target}/release/tfckpt-compare"
TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES= exec "$venv/bin/python" benches/compare/compare.py "$@"
