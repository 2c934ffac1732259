#!/usr/bin/env bash
# Checks this project against real TensorFlow, both ways. Makes its own Python environment under target/.
# Ends with `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=target/interop/venv
if ! cmp -s tests/interop/requirements.txt "$venv/requirements.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/interop/requirements.txt
    cp tests/interop/requirements.txt "$venv/requirements.txt"
fi

cargo build --quiet -p tfckpt-interop-peer
cargo build --quiet --example burn_digits --example candle_digits
TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES= exec "$venv/bin/python" tests/interop/interop.py "$@"
