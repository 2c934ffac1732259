"""This project against real TensorFlow, both ways. Run by run.sh.

Every check compares with what TensorFlow itself writes or reads, never with our own round trip.
The random part prints its seed; `run.sh --seed N` repeats it.
"""
import argparse
import os
import pathlib
import shutil
import sys
import tempfile
import warnings

import tensorflow as tf

from assign import assignments
from burn_optimizers import burn_optimizers
from bundles import broken_files, bundles, merges, old_format, tensorflows_files
from computed import computed
from continued import optimizers
from finding import finding
from frameworks import examples, frameworks, python_objects, relay
from graphs import graphs
from histories import histories
from layers import layer_kinds
from models import models
from named import named
from objects import objects
from recurrent import recurrent
from savers import savers
from sessions import sessions
from shared import check, failed, passed

warnings.filterwarnings("ignore")


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    args.add_argument("--bundles", type=int, default=500)
    args.add_argument("--only", action="append", help="a part by its name, as it is printed at the end of each; may be repeated")
    args = args.parse_args()
    print(f"TensorFlow {tf.__version__}, seed {args.seed}", flush=True)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tfckpt-interop-"))
    try:
        parts = {"bundles": lambda: bundles(folder, args.seed, args.bundles), "merges": lambda: merges(folder, args.seed),
                 "V1 files": lambda: old_format(folder, args.seed), "broken files": broken_files,
                 "savers": lambda: savers(folder), "finding": lambda: finding(folder),
                 "histories": lambda: histories(folder, args.seed),
                 "graphs": lambda: graphs(folder, args.seed),
                 "objects": lambda: objects(folder), "assignments": lambda: assignments(folder, args.seed),
                 "layers": lambda: layer_kinds(folder),
                 "optimizers": lambda: optimizers(folder),
                 "TensorFlow's files": tensorflows_files, "frameworks": lambda: frameworks(folder),
                 "ops and networks": computed,
                 "relay": lambda: relay(folder),
                 "Burn's optimizers": lambda: burn_optimizers(folder),
                 "sessions": lambda: sessions(folder),
                 "frameworks as objects": lambda: python_objects(folder),
                 "recurrent layers": lambda: recurrent(folder),
                 "names": lambda: named(folder),
                 "models": lambda: models(folder, args.seed),
                 "examples": lambda: examples(folder)}
        if unknown := set(args.only or ()) - set(parts):
            sys.exit(f"no such part: {', '.join(sorted(unknown))}; there are: {', '.join(parts)}")
        for name, part in parts.items():
            if args.only and name not in args.only:
                continue
            before = len(passed), len(failed)
            try:
                part()
            except Exception as error:  # a part that breaks off is a failure, and the others still run
                check(name, False, f"broke off: {error!r}")
            print(f"{name}: {len(passed) - before[0]} passed, {len(failed) - before[1]} failed", flush=True)
    finally:
        shutil.rmtree(folder)
    print(f"{len(passed)} passed, {len(failed)} failed")
    sys.exit(bool(failed))


main()
