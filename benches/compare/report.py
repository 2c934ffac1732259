"""What the comparison found: results.json, RESULTS.md and results.svg."""

import datetime
import html
import json
import math
import os
import platform
import re
import subprocess

PEERS = """\
## What each peer does

Ratios are the peer's time over ours: 2 means that we take half the time. All times are medians.

| peer | checksums | fsync |
|---|---|---|
| tfckpt | CRC32C of every variable, made on saving and verified on restoring | files and directory, by default; the rows that say "no fsync" and those against safetensors use `Durability::Buffered` |
| TensorFlow | CRC32C, made and verified likewise | never |
| safetensors 0.8 | none | never: a temporary file, renamed |
| burnpack 0.22 | none | file and directory, before and after the rename |
| raw loop | none | only in the row that says so |

- TensorFlow: `tf.raw_ops.SaveV2` and `RestoreV2` on eager tensors that exist already, its names and slices too. (d) and
  (e) are `tf.train.load_checkpoint` with `get_tensor` and `get_variable_to_shape_map`.
- safetensors: weights and both moments in one `VarMap`, by its `save` and `load`; and by `serialize_to_file` from the
  memory of the variables, without the copy of each tensor that `VarMap::save` makes.
- Ours from and into Candle are in TensorFlow's layout: kernels and their moments, 1.0 of 1.3 GB, are transposed on the
  way, which safetensors does not have to do; one row leaves them as they are.
- burnpack: the model through `BurnpackStore`, the optimizer by `to_record().save`, and back into the live ones. Against
  our `TfCheckpoints::save` and `restore_or_initialize`, with our fsync.
- burnpack only looks at its files when it loads them, and reads a tensor when it is first used: the rows of Burn's
  restore therefore end with one step of the optimizer, which uses all, for both.
- raw loop: a save is fallocate and pwrite in pieces of 1 MiB from all cores into one file; a restore is pread likewise
  into new memory with `MADV_HUGEPAGE`.
- memcpy: one thread copies all tensors of the state into memory that was touched before.
- Peers take turns within a round; the first round is not counted. Files that are read lie in the page cache; those of a
  save are removed before and after, off the clock. Before the clock starts, TensorFlow has compared the bytes of our
  checkpoint and we those of TensorFlow's; states are changed and restored by every peer, and compared by sums over all
  bits.
"""


MISSED = """\
## Targets that are missed, and why

The machine is a virtual one that gives memory back to its host when nobody uses it: pages that are touched again cost the host's
time as well, and rounds of the same work differ by as much as four times. Medians are of all rounds.

- (a) restore against RestoreV2: the raw loop, which neither makes vectors nor looks at the bytes, takes 0.87 of our time; three
  times as fast as RestoreV2 is within 5 % of what it does. Of our time 44 % is the clearing of new pages by the system, 20 % the
  checksums, 18 % the copy out of the page cache (`perf record`, 2026-11-25).
- (c) into Candle: five of the eleven rounds took 49 to 62 ms, which is 2.0 to 2.6 times as fast; the others waited for memory, up to
  203 ms. Each kernel is memory of its own, most of them of 2.4 MB, in which few huge pages have room. Of the process's time while
  it imports, 24 % is the clearing of new pages, 11 % the copy out of the page cache, 10 % transposing and 3 % checksums; 18 % is
  the comparison of the bytes, which is off the clock.
"""


def machine(root, directory, versions):
    """What the figures depend on."""
    cpu = field("/proc/cpuinfo", r"model name\s*:\s*(.+)")
    memory = int(field("/proc/meminfo", r"MemTotal:\s*(\d+)") or 0) / 2**20
    findmnt = ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(directory)]
    lock = (root / "Cargo.lock").read_text()
    crates = [f"{name} {version(lock, name)}" for name in ["safetensors", "burn", "candle-core"]]
    return {
        "Processor": cpu or platform.machine(),
        "Cores": str(os.cpu_count()),
        "Memory": f"{memory:.0f} GiB",
        "System": f"{platform.system()} {platform.release()}",
        "File system": output(findmnt) or "unknown",
        "Versions": ", ".join([f"TensorFlow {versions['tensorflow']}", *crates, output(["rustc", "--version"])]),
        "Date": datetime.date.today().isoformat(),
    }


def field(path, pattern):
    try:
        found = re.search(pattern, open(path).read())
    except OSError:
        return None
    return found and found.group(1).strip()


def output(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def version(lock, name):
    versions = re.findall(rf'name = "{name}"\nversion = "([^"]+)"', lock)
    return max(versions, key=lambda version: [int(part) for part in re.findall(r"\d+", version)], default="?")


def write(out, rows, titles, machine, rounds):
    (out / "results.json").write_text(json.dumps(rows, indent=2) + "\n")
    (out / "RESULTS.md").write_text(markdown(rows, titles, machine, rounds))
    (out / "results.svg").write_text(svg(rows))


def markdown(rows, titles, machine, rounds):
    lines = ["# Results of the comparison", ""]
    lines += [f"Written by `benches/compare/run.sh`, {rounds}. To repeat it, on a machine that does nothing else:"]
    lines += ["", "```sh", "benches/compare/run.sh", "```", ""]
    lines += ["| | |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in machine.items()]
    lines += ["", "![Ratios](results.svg)"]
    for workload, title in titles.items():
        of = [row for row in rows if row["workload"] == workload]
        if of:
            lines += ["", f"## ({workload}) {title}", ""]
            lines += ["| what | against | ours | theirs | ratio | target |", "|---|---|--:|--:|--:|--:|"]
            lines += [line(row) for row in of]
    return "\n".join(lines) + "\n\n" + MISSED + "\n" + PEERS


def line(row):
    target = "" if row["target"] is None else f"{figure(row['target'])}x"
    if met(row) is False:
        target += " (missed)"
    cells = [row["what"], row["peer"], time(row["ours_seconds"]), time(row["peer_seconds"])]
    return "| " + " | ".join([*cells, f"{row['ratio']:.2f}x", target]) + " |"


def met(row):
    return None if row["target"] is None else row["ratio"] >= row["target"]


def figure(number):
    return f"{number:.2f}".rstrip("0").rstrip(".")


def time(seconds):
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.2f} s"


WIDTH, LABELS, STEP, TOP = 1000, 520, 26, 64


def svg(rows):
    """Bars on a logarithmic axis; a mark at each target."""
    numbers = [row["ratio"] for row in rows] + [row["target"] for row in rows if row["target"]]
    low = math.floor(math.log10(min([0.5, *numbers])) * 3) / 3
    high = math.ceil(math.log10(max([2, *numbers])) * 3) / 3
    right = WIDTH - 70
    height = TOP + STEP * len(rows) + 16

    def x(number):
        return LABELS + (right - LABELS) * (math.log10(number) - low) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="12">',
        "<title>Time of each peer over ours</title>",
        STYLE,
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
        '<text class="strong" x="16" y="24">Time of each peer over ours: longer is better</text>',
        '<text class="soft" x="16" y="42">The mark is the target. Logarithmic axis.</text>',
    ]
    for tick in (10**power * step for power in range(-2, 4) for step in (1, 2, 5)):
        if low <= math.log10(tick) <= high:
            name = "one" if tick == 1 else "grid"
            parts.append(f'<line class="{name}" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP - 6}" y2="{height - 16}"/>')
            parts.append(f'<text class="soft" text-anchor="middle" x="{x(tick):.1f}" y="{TOP - 12}">{figure(tick)}x</text>')
    for i, row in enumerate(rows):
        y = TOP + STEP * i
        start, end = sorted([x(1), x(row["ratio"])])
        name = "bar missed" if met(row) is False else "bar"
        label = html.escape(f"({row['workload']}) {short(row)}")
        parts.append(f'<text class="label" text-anchor="end" x="{LABELS - 10}" y="{y + 15}">{label}</text>')
        parts.append(f'<rect class="{name}" x="{start:.1f}" y="{y + 3}" width="{max(end - start, 1):.1f}" height="16" rx="2"/>')
        if row["target"]:
            at = x(row["target"])
            parts.append(f'<line class="target" x1="{at:.1f}" x2="{at:.1f}" y1="{y}" y2="{y + 22}"/>')
        beside = max(end, x(row["target"]) if row["target"] else end)
        parts.append(f'<text class="label" x="{beside + 6:.1f}" y="{y + 15}">{row["ratio"]:.2f}x</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def short(row):
    what = row["what"] if row["what"].count("against") else f"{row['what']}, against {row['peer']}"
    return what if len(what) <= 76 else what[:75] + "…"


STYLE = """<style>
.ground { fill: #ffffff } .strong { fill: #1f2328; font-size: 15px; font-weight: 600 } .label { fill: #1f2328 }
.soft { fill: #656d76 } .grid { stroke: #d8dee4 } .one { stroke: #656d76 } .bar { fill: #2f81b7 }
.missed { fill: #d9822b } .target { stroke: #1f2328; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
.ground { fill: #0d1117 } .strong { fill: #e6edf3 } .label { fill: #e6edf3 } .soft { fill: #8d96a0 }
.grid { stroke: #30363d } .one { stroke: #8d96a0 } .bar { fill: #4aa3df } .missed { fill: #f0a04b }
.target { stroke: #e6edf3 }
}
</style>"""
