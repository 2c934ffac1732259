"""Runs every workload of the comparison and writes its results. Started by run.sh.

Within a workload the peers take turns: each runs once before any runs again, so that whatever the machine does meanwhile
touches all of them. The first round warms up and does not count. Files lie in the page cache when they are read, and
are removed before a save, which no clock sees.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

import report

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = "model.ckpt-1"
FULL = {
    "flat": {"count": 64, "elements": 1 << 22},
    "small": {"count": 100_000, "elements": 256},
    "bert": {"layers": 12, "hidden": 768, "vocabulary": 30_522, "positions": 512},
    "edge": 4096,
}
QUICK = {
    "flat": {"count": 8, "elements": 1 << 18},
    "small": {"count": 2_000, "elements": 256},
    "bert": {"layers": 2, "hidden": 64, "vocabulary": 1000, "positions": 64},
    "edge": 512,
}
# What TensorFlow keeps as float32 beside weights and moments.
POWERS = ["beta1_power", "beta2_power"]
TENSORFLOW = "TensorFlow"
SAFETENSORS = "safetensors"
BURNPACK = "burnpack"
RAW = "raw loop"


class Peer:
    """A process that answers commands."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, do, **arguments):
        command = {"do": do} | {key: str(value) if isinstance(value, pathlib.Path) else value
                                for key, value in arguments.items()}
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"ended with {self.process.wait()}"}
        if "error" in answer:
            raise SystemExit(f"{do}: {answer['error']}")
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Comparison:
    def __init__(self, options):
        self.repeats = 1 if options.quick else options.repeats
        self.sizes = QUICK if options.quick else FULL
        self.directory = options.directory
        self.ours = Peer(os.environ["TFCKPT_COMPARE"])
        self.tensorflow = Peer(sys.executable, str(ROOT / "benches/compare/tensorflow_peer.py"))
        self.rows = []

    # What workloads are made of.

    def place(self, name):
        """An empty directory."""
        path = self.directory / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def saving(self, peer, command, name, inside="", **arguments):
        """Something to time: a save into an empty directory, whose files are gone afterwards, so that their way to the
        disk slows nobody down."""

        def run():
            path = self.place(name)
            # What others wrote is on the disk, so that the system does not slow down this one for it.
            os.sync()
            seconds = peer.ask(command, path=path / inside, **arguments)["seconds"]
            shutil.rmtree(path)
            return seconds

        return run

    def reading(self, peer, command, path, expected=None, **arguments):
        """Something to time: a restore, whose values are compared if the peer answers with their digest."""

        def run():
            answer = peer.ask(command, path=path, **arguments)
            if expected is not None:
                same(f"{command} of {path.name}", answer["digest"], expected)
            return answer["seconds"]

        return run

    def saved(self, peer, command, name, inside="", **arguments):
        """A file for reading: on the disk already, and in the page cache."""
        path = self.place(name)
        peer.ask(command, path=path / inside, **arguments)
        os.sync()
        return path

    def times(self, workload, **runners):
        """Median seconds of each, by turns."""
        samples = {name: [] for name in runners}
        for turn in range(self.repeats + 1):
            for name, run in runners.items():
                seconds = run()
                if turn > 0:
                    samples[name].append(seconds)
        for name, seconds in samples.items():
            told = " ".join(f"{1000 * second:.1f}" for second in sorted(seconds))
            print(f"  {workload} {name}: {told} ms", flush=True)
        return {name: statistics.median(seconds) for name, seconds in samples.items()}

    def row(self, workload, what, peer, ours, theirs, target=None):
        self.rows.append({
            "workload": workload,
            "what": what,
            "peer": peer,
            "ours_seconds": ours,
            "peer_seconds": theirs,
            "ratio": theirs / ours,
            "target": target,
        })

    def forget(self):
        self.ours.ask("forget")
        self.tensorflow.ask("forget")
        shutil.rmtree(self.directory, ignore_errors=True)

    # Bytes that agree, whoever wrote and whoever reads.

    def check_flat(self):
        theirs = self.saved(self.tensorflow, "save", "theirs", MODEL)
        self.ours.ask("flat_check", path=theirs / MODEL)
        ours = self.saved(self.ours, "flat_save", "ours", synced=False)
        self.tensorflow.ask("check", path=ours / MODEL)
        shutil.rmtree(theirs)
        return ours

    def check_state(self, kind, save, restore, place):
        """That what is saved comes back after the state has changed."""
        before = self.ours.ask(f"{kind}_digest")["digest"]
        save()
        self.ours.ask(f"{kind}_step")
        if self.ours.ask(f"{kind}_digest")["digest"] == before:
            raise SystemExit(f"{kind}_step changed nothing")
        restore()
        same(f"the state of {place}", self.ours.ask(f"{kind}_digest")["digest"], before)
        return before

    # The workloads.

    def a(self):
        """64 variables of 16 MiB"""
        self.ours.ask("flat_make", **self.sizes["flat"])
        self.tensorflow.ask("flat_make", **self.sizes["flat"])
        fixture = self.check_flat()
        saved = self.times(
            "save",
            ours=self.saving(self.ours, "flat_save", "save", synced=False),
            tensorflow=self.saving(self.tensorflow, "save", "save", MODEL),
            raw=self.saving(self.ours, "raw_write", "save", "data", synced=False),
            ours_synced=self.saving(self.ours, "flat_save", "save", synced=True),
            raw_synced=self.saving(self.ours, "raw_write", "save", "data", synced=True),
        )
        self.row("a", "save, no fsync", TENSORFLOW, saved["ours"], saved["tensorflow"], 3.0)
        self.row("a", "save with our fsync, theirs without", TENSORFLOW, saved["ours_synced"], saved["tensorflow"], 1.0)
        self.row("a", "save, no fsync", RAW, saved["ours"], saved["raw"], 0.85)
        self.row("a", "save with fsync, both", RAW, saved["ours_synced"], saved["raw_synced"])
        data = next(fixture.glob(f"{MODEL}.data-*"))
        restored = self.times(
            "restore",
            ours=self.reading(self.ours, "flat_restore", fixture / MODEL),
            tensorflow=self.reading(self.tensorflow, "restore", fixture / MODEL),
            raw=self.reading(self.ours, "raw_read", data),
        )
        self.row("a", "restore to fresh memory", TENSORFLOW, restored["ours"], restored["tensorflow"], 3.0)
        self.row("a", "restore to fresh memory", RAW, restored["ours"], restored["raw"], 0.8)

    def b(self):
        """100,000 variables of 1 KiB"""
        self.ours.ask("flat_make", **self.sizes["small"])
        self.tensorflow.ask("flat_make", **self.sizes["small"])
        fixture = self.check_flat()
        saved = self.times(
            "save",
            ours=self.saving(self.ours, "flat_save", "save", synced=False),
            tensorflow=self.saving(self.tensorflow, "save", "save", MODEL),
        )
        self.row("b", "save, no fsync", TENSORFLOW, saved["ours"], saved["tensorflow"], 5.0)
        restored = self.times(
            "restore",
            ours=self.reading(self.ours, "flat_restore", fixture / MODEL),
            tensorflow=self.reading(self.tensorflow, "restore", fixture / MODEL),
        )
        self.row("b", "restore", TENSORFLOW, restored["ours"], restored["tensorflow"], 5.0)

    def c(self):
        """The 199 variables of BERT-base, 440 MB, and one kernel of 4096 x 4096"""
        self.ours.ask("candle_make", size=self.sizes["bert"])
        fixture = self.place("weights")
        digest = self.ours.ask("candle_weights", path=fixture)["digest"]
        os.sync()
        self.ours.ask("burn_make", path=fixture / MODEL, size=self.sizes["bert"])
        same("the weights in TensorFlow", self.tensorflow.ask("digest", path=fixture / MODEL)["digest"], digest)
        self.tensorflow.ask("restore_make", path=fixture / MODEL)
        imported = self.times(
            "import",
            candle=self.reading(self.ours, "candle_import", fixture / MODEL, digest),
            burn=self.reading(self.ours, "burn_import", fixture / MODEL, digest),
            tensorflow=self.reading(self.tensorflow, "restore", fixture / MODEL),
        )
        self.row("c", "import into Candle, Dense kernels transposed, against RestoreV2 alone", TENSORFLOW,
                 imported["candle"], imported["tensorflow"], 2.0)
        self.row("c", "import into Burn, against RestoreV2 alone", TENSORFLOW,
                 imported["burn"], imported["tensorflow"])
        self.forget()

        kernel = self.place("kernel")
        self.ours.ask("transpose_make", path=kernel, edge=self.sizes["edge"])
        os.sync()
        transposed = self.times(
            "transpose",
            imported=self.reading(self.ours, "transpose_import", kernel / MODEL),
            memory=lambda: self.ours.ask("transpose_memory")["seconds"],
            candle=lambda: self.ours.ask("transpose_candle")["seconds"],
        )
        against = "t()?.contiguous()"
        self.row("c", "one kernel read, checked and transposed, against Candle's transpose alone", against,
                 transposed["imported"], transposed["candle"], 3.0)
        self.row("c", "one kernel transposed in memory, against Candle's transpose", against,
                 transposed["memory"], transposed["candle"], 3.0)

    def d(self):
        """One 16 MiB variable out of (a)"""
        flat = self.sizes["flat"]
        self.ours.ask("flat_make", **flat | {"count": 1})
        alone = self.saved(self.ours, "flat_save", "alone", synced=False)
        self.ours.ask("flat_make", **flat)
        fixture = self.saved(self.ours, "flat_save", "all", synced=False)
        # The variable alone is the first one: both are the same bytes.
        first, middle = "variable_000000", f"variable_{flat['count'] // 2:06}"
        one = self.times(
            "one variable",
            ours=self.reading(self.ours, "flat_one", fixture / MODEL, name=middle),
            tensorflow=self.reading(self.tensorflow, "one", fixture / MODEL, name=middle),
            alone=self.reading(self.ours, "flat_one", alone / MODEL, name=first),
        )
        self.row("d", "one variable, against CheckpointReader", TENSORFLOW, one["ours"], one["tensorflow"], 3.0)
        self.row("d", "one variable, against the same alone in its file", "ourselves", one["ours"], one["alone"], 0.8)

    def e(self):
        """Open and list (b)"""
        self.ours.ask("flat_make", **self.sizes["small"])
        fixture = self.saved(self.ours, "flat_save", "small", synced=False)
        listed = self.times(
            "list",
            ours=self.reading(self.ours, "flat_list", fixture / MODEL),
            tensorflow=self.reading(self.tensorflow, "list", fixture / MODEL),
        )
        self.row("e", "open and list, against CheckpointReader", TENSORFLOW, listed["ours"], listed["tensorflow"], 5.0)

    def f(self):
        """Adam training state of (c), 1.3 GB"""
        self.ours.ask("candle_make", size=self.sizes["bert"])
        self.ours.ask("candle_step")
        self.f_candle()
        weights = self.place("weights")
        self.ours.ask("candle_weights", path=weights)
        self.ours.ask("forget")
        self.ours.ask("burn_make", path=weights / MODEL, size=self.sizes["bert"])
        self.ours.ask("burn_step")
        self.f_burn()

    def f_candle(self):
        ours, file = self.place("ours"), self.place("theirs") / "state.safetensors"
        # A run that has counted no step.
        prefix = ours / "model.ckpt-0"
        digest = self.check_state("candle", lambda: self.ours.ask("candle_save", path=ours, synced=False),
                                  lambda: self.ours.ask("candle_restore", path=prefix), prefix)
        read = self.tensorflow.ask("digest", path=prefix, without=POWERS)["digest"]
        same("the Candle state in TensorFlow", read, digest)
        for save in ["safetensors_borrowed", "safetensors_save"]:
            self.check_state("candle", lambda: self.ours.ask(save, path=file),
                             lambda: self.ours.ask("safetensors_load", path=file), file)
        os.sync()
        saved = self.times(
            "Candle save",
            ours=self.saving(self.ours, "candle_save", "save", synced=False),
            varmap=self.saving(self.ours, "safetensors_save", "save", "state.safetensors"),
            borrowed=self.saving(self.ours, "safetensors_borrowed", "save", "state.safetensors"),
            untransposed=self.saving(self.ours, "candle_save", "save", synced=False, identity=True),
        )
        self.row("f", "Candle save, against VarMap::save", SAFETENSORS, saved["ours"], saved["varmap"], 1.0)
        self.row("f", "Candle save, against serialize_to_file of borrowed memory", SAFETENSORS,
                 saved["ours"], saved["borrowed"], 1.0)
        self.row("f", "Candle save in Candle's own layouts, as theirs, against serialize_to_file", SAFETENSORS,
                 saved["untransposed"], saved["borrowed"])
        restored = self.times(
            "Candle restore",
            ours=self.reading(self.ours, "candle_restore", prefix, one_pass=True),
            verified=self.reading(self.ours, "candle_restore", prefix),
            varmap=self.reading(self.ours, "safetensors_load", file),
        )
        self.row("f", "Candle restore in one pass, against VarMap::load", SAFETENSORS,
                 restored["ours"], restored["varmap"], 1.0)
        self.row("f", "Candle restore, verified before anything is changed, against VarMap::load", SAFETENSORS,
                 restored["verified"], restored["varmap"])

    def f_burn(self):
        ours, theirs = self.place("ours"), self.place("theirs")
        digest = self.check_state("burn", lambda: self.ours.ask("burn_save", path=ours, synced=True),
                                  lambda: self.ours.ask("burn_restore", path=ours), ours)
        read = self.tensorflow.ask("digest", path=ours / "model.ckpt-0", without=POWERS)["digest"]
        same("the Burn state in TensorFlow", read, digest)
        self.check_state("burn", lambda: self.ours.ask("burnpack_save", path=theirs),
                         lambda: self.ours.ask("burnpack_load", path=theirs), theirs)
        os.sync()
        saved = self.times(
            "Burn save",
            ours=self.saving(self.ours, "burn_save", "save", synced=True),
            burnpack=self.saving(self.ours, "burnpack_save", "save"),
        )
        self.row("f", "Burn save, both with fsync", BURNPACK, saved["ours"], saved["burnpack"], 1.0)
        restored = self.times(
            "Burn restore",
            ours=self.reading(self.ours, "burn_restore", ours, step=True),
            burnpack=self.reading(self.ours, "burnpack_load", theirs, step=True),
        )
        self.row("f", "Burn restore and one step, before which burnpack reads nothing", BURNPACK,
                 restored["ours"], restored["burnpack"], 1.0)

    def g(self):
        """Saving (f) in the background while training goes on"""
        self.ours.ask("candle_make", size=self.sizes["bert"])
        self.ours.ask("candle_step")
        before = self.ours.ask("candle_digest")["digest"]
        place = self.place("background")
        # Training goes on during the save, and must not show in what is saved.
        self.ours.ask("candle_background", path=place)
        same("the state saved in the background", self.tensorflow.ask("digest", path=place / MODEL)["digest"], before)
        held = self.times(
            "held up",
            ours=self.saving(self.ours, "candle_background", "background"),
            memcpy=lambda: self.ours.ask("candle_memcpy")["seconds"],
        )
        self.row("g", "training held up, against one memcpy of the state (at most 1.2 of it)", "memcpy",
                 held["ours"], held["memcpy"], 1 / 1.2)

    WORKLOADS = {"a": a, "b": b, "c": c, "d": d, "e": e, "f": f, "g": g}


def same(what, found, expected):
    if found != expected:
        raise SystemExit(f"{what}: {found}, not {expected}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="rounds that count (default: 7)")
    parser.add_argument("--only", help="workloads, such as a,c (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: does the comparison itself work?")
    parser.add_argument("--out", type=pathlib.Path,
                        help="directory of the results (default: benches/, or target/compare-partial/ with --only or --quick)")
    parser.add_argument("--directory", type=pathlib.Path, default=ROOT / "target/compare",
                        help="where checkpoints are saved for a while; emptied (default: target/compare)")
    options = parser.parse_args()
    names = (options.only or ",".join(Comparison.WORKLOADS)).split(",")
    whole = ROOT / ("target/compare-partial" if options.quick or options.only else "benches")
    out = options.out or whole
    out.mkdir(parents=True, exist_ok=True)

    comparison = Comparison(options)
    options.directory.mkdir(parents=True, exist_ok=True)
    machine = report.machine(ROOT, options.directory, comparison.tensorflow.ask("version"))
    for name in names:
        workload = Comparison.WORKLOADS[name]
        print(f"({name}) {workload.__doc__}", flush=True)
        workload(comparison)
        comparison.forget()
    comparison.ours.close()
    comparison.tensorflow.close()
    titles = {name: workload.__doc__ for name, workload in Comparison.WORKLOADS.items()}
    rounds = "1 round of small sizes, which says nothing about speed" if options.quick else f"{options.repeats} rounds"
    report.write(out, comparison.rows, titles, machine, rounds)
    missed = [row for row in comparison.rows if row["target"] and row["ratio"] < row["target"]]
    print(f"{len(comparison.rows)} rows, {len(missed)} below target; see {out}/RESULTS.md")


if __name__ == "__main__":
    main()
