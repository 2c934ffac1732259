#!/usr/bin/env bash
# Every fault at every moment of a save: in process (tests/faults.rs and faults_rules.rs), and from outside with strace on real trainings.
# Needs strace and the environment with TensorFlow. Ends with `N passed, N failed`.
#   tests/faults/run.sh [STRIDE]    one of STRIDE points from outside; default: all 1,888, in twenty minutes on two cores
set -euo pipefail
cd "$(dirname "$0")/../.."
stride=${1:-1}

source tests/interop/environment.sh
command -v strace >/dev/null || { echo "strace is missing: apt-get install strace" >&2; exit 1; }

# Optimised, a training takes a fraction of the time; it takes minutes to build, so that only many points are worth it.
if ((stride < 6)); then profile=release; else profile=dev; fi
cargo build --quiet --profile "$profile" -p tfckpt-cli
cargo build --quiet --profile "$profile" --example candle_digits --example burn_digits
target=${CARGO_TARGET_DIR:-target}/${profile/dev/debug}
out=$(mktemp)
trap 'rm -f "$out"' EXIT

cargo test --quiet --test faults --test faults_rules -- --nocapture | tee -a "$out"
# Of what a killed process wrote nothing is lost, on a disk or in memory; in memory the syncs cost nothing.
[[ -z ${TMPDIR:-} && -w /dev/shm ]] && export TMPDIR=/dev/shm
for example in candle_digits burn_digits; do
    echo "== $example"
    TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES= "$venv/bin/python" tests/faults/outside.py \
        --program "$target/examples/$example" --reader "$target/tfckpt" --stride "$stride" | tee -a "$out" || true
done
# Lines `in process: … N passed, N failed`, and one `outside: …` for each example: without it, that broke off.
awk '/(in process|outside): /{ n = split($0, word, " "); passed += word[n - 3]; failed += word[n - 1] }
    /^outside: / { examples++ }
    END { printf "%d passed, %d failed\n", passed, failed; exit failed > 0 || examples != 2 }' "$out"
