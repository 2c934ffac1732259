"""Faults from outside: a real training is run again and again, and at its n-th system call of a kind it is killed, or the
call fails. After each, the newest checkpoint that it acknowledged restores, in our reader and in TensorFlow; nothing
outside its directory has changed; and the training, started again, ends with the very bytes of one that was never
disturbed."""
import argparse
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import tensorflow as tf

# What changes a directory, and what opens files in it.
CALLS = ["openat", "pwrite64", "fallocate", "fsync", "rename", "unlink", "linkat", "mkdir"]
FAULTS = {"kill": "signal=KILL", "ENOSPC": "error=ENOSPC", "EIO": "error=EIO"}
# Calls that an error is not injected into, with the reason.
WITHOUT_ERRORS = {
    # A library or a source of entropy that does not open ends the program before it does anything.
    "mkdir",
}
EPOCHS, EVERY = 1, 5


def strace(arguments, command, **options):
    return subprocess.run(["strace", "-f", "--seccomp-bpf", "-qq", *arguments, *command], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, **options)


def training(program, directory):
    return [str(program), "--dir", str(directory), "--epochs", str(EPOCHS), "--every-steps", str(EVERY)]


def digest(directory):
    """The bytes of all files of checkpoints, by name."""
    files = sorted(path for path in directory.iterdir() if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def calls_of(program, folder):
    """For each kind of call the numbers of those that concern the directory, out of an undisturbed run."""
    directory, log = folder / "run", folder / "log"
    done = strace(["-o", str(log), "-y", "-e", "trace=" + ",".join(CALLS)], training(program, directory))
    assert done.returncode == 0, done.stdout
    numbers, seen = {call: [] for call in CALLS}, dict.fromkeys(CALLS, 0)
    for line in log.read_text().splitlines():
        found = re.match(r"\d+ +(\w+)\(", line)
        if found and found[1] in seen:
            seen[found[1]] += 1
            if str(directory) in line:
                numbers[found[1]].append(seen[found[1]])
    return numbers, digest(directory)


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


def point(program, reader, reference, call, number, fault):
    """One run with one fault. What is wrong, or None."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="faults-"))
    directory, beside = folder / "run", folder / "precious"
    beside.mkdir()
    (beside / "model.ckpt-1.index").write_text("not ours")
    try:
        inject = f"inject={call}:{FAULTS[fault]}:when={number}"
        done = strace(["-o", "/dev/null", "-e", f"trace={call}", "-e", inject], training(program, directory))
        saved = acknowledged(done.stdout)
        check("panicked" not in done.stdout, f"it panicked: {done.stdout}")
        if saved is not None:
            found = latest_in_tensorflow(directory)
            check(found is not None and found >= saved, f"TensorFlow finds step {found}, {saved} was acknowledged")
            ours = subprocess.run([reader, "verify", str(directory)], text=True, capture_output=True)
            check(ours.returncode == 0, f"our reader: {ours.stdout}{ours.stderr}")
        check(sorted(path.name for path in folder.iterdir() if path.name != "run") == ["precious"], "files outside")
        check([path.name for path in beside.iterdir()] == ["model.ckpt-1.index"], "the directory beside it changed")
        # The next run goes on, cleans up, and ends as if nothing had happened.
        again = subprocess.run(training(program, directory), text=True, capture_output=True, timeout=120)
        check(again.returncode == 0, f"the next run: {again.stdout}{again.stderr}")
        if saved is not None:
            resumed = re.search(r"resumed at step (\d+)", again.stdout)
            check(resumed and int(resumed[1]) >= saved, f"it did not go on from {saved}: {again.stdout}")
        after = digest(directory)
        last = {name: found for name, found in reference.items() if f"-{EPOCHS * 30}." in name}
        check(last.items() <= after.items(), "the last checkpoint is not that of an undisturbed run")
        prefixes = [name.removesuffix(".index") for name in after if name.endswith(".index")]
        own = {"checkpoint", "checkpoint.history.json"}
        left = [name for name in after if name not in own and not any(name.startswith(p + ".") for p in prefixes)]
        check(not left, f"left over: {left}")
        return None
    except (AssertionError, subprocess.TimeoutExpired, tf.errors.OpError, ValueError) as error:
        return f"{fault} at {call} {number}: {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--program", type=pathlib.Path, required=True, help="the training")
    options.add_argument("--reader", type=pathlib.Path, required=True, help="the command tfckpt")
    options.add_argument("--stride", type=int, default=1, help="takes one of so many points (default: all)")
    options = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        numbers, reference = calls_of(options.program, pathlib.Path(folder))
    points = [(call, number, fault) for call in CALLS for number in numbers[call] for fault in FAULTS
              if fault == "kill" or call not in WITHOUT_ERRORS]
    failed, counts = [], {}
    for call, number, fault in points[::options.stride]:
        wrong = point(options.program, str(options.reader), reference, call, number, fault)
        passed, bad = counts.get((fault, call), (0, 0))
        counts[fault, call] = (passed + (wrong is None), bad + (wrong is not None))
        if wrong:
            failed.append(wrong)
            print(wrong, flush=True)
    for (fault, call), (passed, bad) in sorted(counts.items()):
        print(f"{fault} at {call}: {passed + bad} points, {bad} failed")
    print(f"outside: {sum(passed for passed, _ in counts.values())} passed, {len(failed)} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
