#!/usr/bin/env bash
# Checks this project against real TensorFlow, both ways. Makes its own Python environment under target/.
# `--only PART` runs one part, and may be repeated; the parts are named by what they print. Ends with `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/../.."

source tests/interop/environment.sh

cargo build --quiet -p tfckpt-interop-peer -p tfckpt-cli
cargo build --quiet --example burn_digits --example candle_digits
TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES= exec "$venv/bin/python" tests/interop/interop.py "$@"
