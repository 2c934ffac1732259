"""Runs each network by a session of ours, by hand in Candle and in TensorFlow, and writes benches/SESSION.md. Started by run.sh.

The three take turns within a round, so that whatever the machine does meanwhile touches all of them; each turn is the median
of several runs, and what is told is the median of the rounds. The first round warms up and does not count.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benches/compare"))
import networks
import report

DIGITS = ROOT / "data/tf-digits/saver/model.ckpt-360"
ROWS = {
    "digits-1": "the digits network, 1 image of 8 x 8",
    "digits-50": "the digits network, 50 images",
    "digits-297": "the digits network, 297 images",
    "bert": "BERT-base, 1 text of 128 words",
    "mobilenet": "MobileNet v1, 1 image of 224 x 224",
    "resnet": "ResNet v1 of 50 layers, 1 image of 224 x 224",
    "depthwise-64-56": "depthwise, 64 channels of 56 x 56",
    "depthwise-256-28": "depthwise, 256 channels of 28 x 28",
    "depthwise-512-14": "depthwise, 512 channels of 14 x 14",
}
# So long a turn lasts, in seconds.
TURN = 0.4


def turn(run):
    times = []
    while len(times) < 3 or sum(times) < TURN:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


class Ours:
    """The process that runs sessions, and networks by hand."""

    def __init__(self):
        self.process = subprocess.Popen([os.environ["TFCKPT_SESSION_BENCH"], "--serve"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def ask(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{command}: ended with {self.process.wait()}")
        return json.loads(line)


def measure(ours, name, rounds):
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        if name.startswith("digits"):
            theirs = networks.Digits(int(name.split("-")[1]), DIGITS, directory)
        else:
            theirs = networks.Network(name, directory)
        # How far from TensorFlow's output, relative to the largest element.
        differences = ours.ask(open=name, directory=str(directory), prefix=str(DIGITS))
    times = {"session": [], "by_hand": [], "tensorflow": []}
    for _ in range(rounds + 1):
        times["session"].append(ours.ask(run="session", seconds=TURN)["median"])
        times["by_hand"].append(ours.ask(run="by_hand", seconds=TURN)["median"])
        times["tensorflow"].append(turn(theirs.run))
    return {side: statistics.median(of[1:]) for side, of in times.items()} | {"differences": differences}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", help="rows, separated by commas: their results are printed and not written")
    options = parser.parse_args()
    chosen = options.only.split(",") if options.only else ROWS
    ours = Ours()
    lines = ["| network | session | by hand in Candle | TensorFlow | by hand / session | TensorFlow / session | "
             "difference from TensorFlow, session and by hand |", "|---|--:|--:|--:|--:|--:|--:|"]
    for name in chosen:
        row = measure(ours, name, options.rounds)
        session = row["session"]
        cells = [ROWS[name], *(report.time(row[side]) for side in ("session", "by_hand", "tensorflow")),
                 f"{row['by_hand'] / session:.2f}x", f"{row['tensorflow'] / session:.2f}x",
                 ", ".join(f"{difference:.1e}" for difference in row["differences"].values())]
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    if not options.only:
        write(lines, options.rounds)


def write(lines, rounds):
    machine = report.machine(ROOT, ROOT, {"tensorflow": networks.tf.__version__})
    facts = ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in machine.items())]
    text = ["# Running graphs: sessions, networks by hand, and TensorFlow", "",
            f"Written by `benches/session/run.sh`, {rounds} rounds. Forward passes on the CPU, float32, all cores, what is fed and",
            "fetched included. Ratios above 1 mean that a session takes less time. By hand are the layers of candle-nn, and the",
            "`BertModel` of candle-transformers, in Candle's own layouts and with the same weights; depthwise by hand is `conv2d`",
            "with groups. TensorFlow has oneDNN, as it comes.", "", *facts, "", *lines, ""]
    (ROOT / "benches/SESSION.md").write_text("\n".join(text))


if __name__ == "__main__":
    main()
