#!/usr/bin/env bash
# Compares running a graph with the same network written by hand in Candle and with TensorFlow, and writes
# benches/SESSION.md. Wants 4 GB of memory and a machine that does nothing else.
#   benches/session/run.sh [--rounds N] [--only a,b,…]
set -euo pipefail
cd "$(dirname "$0")/../.."

source tests/interop/environment.sh

bench=$(cargo bench --quiet --no-run --bench session --no-default-features --features candle --message-format=json |
    "$venv/bin/python" -c 'import json, sys
print([line["executable"] for line in map(json.loads, sys.stdin) if line.get("executable")][-1])')
export TFCKPT_SESSION_BENCH="$bench"
TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES= exec "$venv/bin/python" benches/session/session.py "$@"
