"""Faults from outside: a real training is run again and again, and at its n-th system call of a kind it is killed, or the
call fails, for every n that concerns its directory. After each, the newest checkpoint that it acknowledged restores, in our
reader and in TensorFlow; nothing outside its directory has changed; and the training, started again, ends with the very
bytes of one that was never disturbed."""
import argparse
import concurrent.futures
import hashlib
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import typing

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402

# What changes a directory, and what opens and locks files in it.
CALLS = ["openat", "flock", "ftruncate", "write", "pwrite64", "fallocate", "sync_file_range", "fsync", "rename", "linkat",
         "unlink", "mkdir"]
FAULTS = {"kill": "signal=KILL", "ENOSPC": "error=ENOSPC", "EIO": "error=EIO"}
EPOCHS, EVERY = 1, 5
# As many trainings at a time as there are cores, each with one thread.
ENVIRONMENT = os.environ | {"RAYON_NUM_THREADS": "1", "RUST_BACKTRACE": "0"}


class Beginning(typing.NamedTuple):
    """What the training that is disturbed finds: nothing, or what a killed one has left."""
    name: str
    directory: pathlib.Path | None
    acknowledged: int | None


def run(command):
    return subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
                          env=ENVIRONMENT)


# Without --seccomp-bpf, with which strace 6.1 delivers no signals.
def strace(log, calls, inject, command):
    inject = ["-e", f"inject={inject}"] if inject else []
    return run(["strace", "-f", "-qq", "-y", "-o", str(log), "-e", "trace=" + ",".join(calls), *inject, *command])


def training(program, directory):
    return [str(program), "--dir", str(directory), "--epochs", str(EPOCHS), "--every-steps", str(EVERY)]


def digest(directory):
    """The bytes of all files of checkpoints, by name."""
    files = sorted(path for path in directory.iterdir() if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class Log:
    """What strace wrote: calls in the order in which they began, numbered by kind and thread, as strace counts them."""

    def __init__(self, path, directory):
        self.text = path.read_text(errors="replace")
        self.calls, seen = [], {}
        for line in self.text.splitlines():
            if found := re.match(r"(\d+) +(\w+)\((.*)", line):
                thread, call, rest = found.groups()
                seen[thread, call] = number = seen.get((thread, call), 0) + 1
                # What is written may name the directory, too.
                where = rest.split(",")[0] if "write" in call else rest
                place = "directory" if str(directory) in where else "machine" if '"/sys/' in where else "elsewhere"
                self.calls.append((call, number, place))

    def numbers(self, fault):
        """For each kind of call the numbers that can be reached in the directory: for a kill, those of which the first
        thread to come to them is there; for an error, also those that another thread, which only looks at what the machine
        is like, can do without."""
        places = {}
        for call, number, place in self.calls:
            places.setdefault((call, number), []).append(place)
        harmless = {} if fault == "kill" else {"machine"}
        first = {at: next((place for place in found if place not in harmless), None) for at, found in places.items()}
        reached = [at for at, place in first.items() if place == "directory"]
        return {call: [number for kind, number in reached if kind == call] for call in CALLS}

    def has_fault(self, call, number, fault, directory):
        """Whether the fault came, and came in the directory."""
        if fault == "kill":
            return "+++ killed by SIGKILL +++" in self.text and number in self.numbers(fault)[call]
        return any("(INJECTED)" in line and str(directory) in line for line in self.text.splitlines())


def undisturbed(program, beginning, folder):
    """The points of a training that begins so, and the files that it ends with."""
    directory, log = start(beginning, folder), folder / "log"
    done = strace(log, CALLS, None, training(program, directory))
    check(done.returncode == 0, done.stdout)
    return Log(log, directory), digest(directory)


def beginnings(program, folder):
    """Nothing; and what is left of a training that was killed in the middle of a save, by a call that comes in the middle
    of the training, and by one with which a checkpoint is replaced, if the training does that."""
    nothing = Beginning("from nothing", None, None)
    yield nothing
    (folder / "first").mkdir()
    log, _ = undisturbed(program, nothing, folder / "first")
    numbers = log.numbers("kill")
    for call in "rename", "linkat":
        if at := numbers[call]:
            into, number = folder / call, at[len(at) // 2]
            into.mkdir()
            done = strace(into / "log", [call], f"{call}:{FAULTS['kill']}:when={number}", training(program, into / "run"))
            check(done.returncode != 0, f"it was not killed: {done.stdout}")
            yield Beginning(f"killed at {call} {number}", into / "run", acknowledged(done.stdout))


def start(beginning, folder):
    """The directory of a training that begins so."""
    if beginning.directory:
        shutil.copytree(beginning.directory, folder / "run")
    return folder / "run"


def acknowledged(output):
    steps = re.findall(r"^saved .*-(\d+)$", output, re.MULTILINE)
    return int(steps[-1]) if steps else None


def latest_in_tensorflow(directory):
    """The step of the newest checkpoint, all of whose values TensorFlow has read; None without one."""
    prefix = tf.train.latest_checkpoint(str(directory))
    if prefix is None:
        return None
    reader = tf.train.load_checkpoint(prefix)
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)
    return int(reader.get_tensor("global_step"))


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def point(program, reader, beginning, reference, call, number, fault):
    """One run with one fault. What is wrong, or None."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        disturb(folder, program, reader, beginning, reference, call, number, fault)
        return None
    except (AssertionError, OSError, subprocess.TimeoutExpired, tf.errors.OpError, ValueError) as error:
        return f"{beginning.name}, {fault} at {call} {number}: {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def disturb(folder, program, reader, beginning, reference, call, number, fault):
    inside, log = folder / "inside", folder / "log"
    inside.mkdir()
    directory, beside = start(beginning, inside), inside / "precious"
    beside.mkdir()
    (beside / "model.ckpt-1.index").write_text("not ours")
    done = strace(log, [call], f"{call}:{FAULTS[fault]}:when={number}", training(program, directory))
    check(Log(log, directory).has_fault(call, number, fault, directory), "the fault did not come")
    check("panicked" not in done.stdout, f"it panicked: {done.stdout}")
    saved = acknowledged(done.stdout) or beginning.acknowledged
    if saved is not None:
        found = latest_in_tensorflow(directory)
        check(found is not None and found >= saved, f"TensorFlow finds step {found}, {saved} was acknowledged")
        ours = run([reader, "verify", str(directory)])
        check(ours.returncode == 0, f"our reader: {ours.stdout}")
    check({path.name for path in inside.iterdir()} <= {"precious", "run"}, "files outside")
    check([path.name for path in beside.iterdir()] == ["model.ckpt-1.index"], "the directory beside it changed")
    # The next run goes on, cleans up, and ends as if nothing had happened. It comes a minute later: an empty file that is
    # younger than ten seconds may be one that a writer who lives has made and not locked yet.
    for path in directory.glob("*.tfckpt") if directory.exists() else []:
        if path.stat().st_size == 0:
            os.utime(path, times=(time.time() - 60,) * 2)
    again = run(training(program, directory))
    check(again.returncode == 0, f"the next run: {again.stdout}")
    if saved is not None:
        resumed = re.search(r"resumed at step (\d+)", again.stdout)
        check(resumed and int(resumed[1]) >= saved, f"it did not go on from {saved}: {again.stdout}")
    after = digest(directory)
    last = {name: found for name, found in reference.items() if f"-{EPOCHS * 30}." in name}
    check(last and last.items() <= after.items(), "the last checkpoint is not that of an undisturbed run")
    prefixes = [name.removesuffix(".index") for name in after if name.endswith(".index")]
    own = {"checkpoint", "checkpoint.history.json"}
    left = [name for name in after if name not in own and not any(name.startswith(p + ".") for p in prefixes)]
    check(not left, f"left over: {left}")


def points_of(program, folder):
    """All points, and the files that an undisturbed training ends with."""
    points, reference = [], None
    for n, beginning in enumerate(beginnings(program, folder)):
        into = folder / str(n)
        into.mkdir()
        log, files = undisturbed(program, beginning, into)
        reference = reference or files
        points += [(beginning, call, number, fault) for fault in FAULTS for call in CALLS
                   for number in log.numbers(fault)[call]]
    return points, reference


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--program", type=pathlib.Path, required=True, help="the training")
    options.add_argument("--reader", type=pathlib.Path, required=True, help="the command tfckpt")
    options.add_argument("--stride", type=int, default=1, help="takes one of so many points (default: all)")
    options = options.parse_args()
    failed, counts = 0, {}
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        points, reference = points_of(options.program, pathlib.Path(folder))

        def one(at):
            beginning, call, number, fault = at
            return point(options.program, str(options.reader), beginning, reference, call, number, fault)

        # In an order of its own, so that no stride leaves out a fault or a call.
        random.Random(7).shuffle(points)
        points = points[::options.stride]
        for done, ((_, call, _, fault), wrong) in enumerate(zip(points, pool.map(one, points))):
            if done % 100 == 0:
                print(f"{done} of {len(points)} points", file=sys.stderr, flush=True)
            passed, bad = counts.get((call, fault), (0, 0))
            counts[call, fault] = (passed + (wrong is None), bad + (wrong is not None))
            if wrong:
                failed += 1
                print(wrong, flush=True)
    for call, fault in sorted(counts, key=lambda kind: (CALLS.index(kind[0]), kind[1])):
        passed, bad = counts[call, fault]
        print(f"{fault} at {call}: {passed + bad} points, {bad} failed")
    print(f"outside: {len(points) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
