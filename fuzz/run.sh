#!/usr/bin/env bash
# Runs every fuzz target for so many seconds (60 by default), or the named ones: `fuzz/run.sh 600 index v1`.
# A crash ends it with an error and leaves its input in fuzz/artifacts: make that a fixture with a test.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
shift || true

command -v cargo-fuzz >/dev/null || cargo install --quiet --locked cargo-fuzz
# The fuzzer's instrumentation is an unstable flag of the compiler; the stable one takes it with this.
export RUSTC_BOOTSTRAP=1
for target in ${@:-$(cargo fuzz list)}; do
    # New inputs go to a folder of their own: the corpus that is checked in grows by hand.
    found=fuzz/target/corpus/$target log=fuzz/target/$target.log
    mkdir -p "$found"
    cargo fuzz build --sanitizer none "$target" 2>&1 | grep -E '^(warning|error)' -A 20 || true
    # No input is longer than 64 KiB, and none may take more than a multiple of that.
    if ! cargo fuzz run --sanitizer none "$target" "$found" "fuzz/corpus/$target" -- -max_total_time="$seconds" \
        -max_len=65536 -malloc_limit_mb=64 -rss_limit_mb=1024 -timeout=10 -verbosity=0 -print_final_stats=1 \
        >"$log" 2>&1; then
        tail -50 "$log"
        exit 1
    fi
    printf '%s: %s s, %s inputs, at most %s MiB\n' "$target" "$seconds" \
        "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
        "$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")"
done
