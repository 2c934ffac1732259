#!/usr/bin/env bash
# Compares this project with TensorFlow, safetensors, burnpack and the machine itself, and writes benches/results.json,
# benches/RESULTS.md and benches/results.svg. Wants 16 GB of memory, 10 GB of disk and a machine that does nothing else.
#   benches/compare/run.sh [--repeats N] [--only a,b,…] [--quick]
set -euo pipefail
cd "$(dirname "$0")/../.."

source tests/interop/environment.sh

cargo build --quiet --release -p tfckpt-compare
export TFCKPT_COMPARE="${CARGO_TARGET_DIR:-target}/release/tfckpt-compare"
TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES= exec "$venv/bin/python" benches/compare/compare.py "$@"
