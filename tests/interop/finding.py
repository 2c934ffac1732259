"""Directories of TensorFlow's that were moved or damaged: what our command finds and repairs, and TensorFlow then agrees."""
import json
import os
import shutil
import subprocess
import time

import numpy as np
import tensorflow as tf

from shared import DEBUG, check, v1

CLI = DEBUG / "tfckpt"


def cli(*args):
    return subprocess.run([CLI, *map(str, args)], capture_output=True, text=True)


def with_saver(folder, absolute):
    """A run of tf.compat.v1.train.Saver."""
    folder.mkdir()
    graph = tf.Graph()
    with graph.as_default():
        variable = v1.get_variable("v", initializer=np.zeros(100, np.float32), use_resource=True)
        saver = v1.train.Saver(save_relative_paths=not absolute)
    with v1.Session(graph=graph) as session:
        for step in (10, 20, 30):
            variable.load(np.full(100, step, np.float32), session)
            saver.save(session, str(folder / "model.ckpt"), global_step=step)


def with_manager(folder):
    """A run of tf.train.CheckpointManager, which keeps timestamps."""
    variable = tf.Variable(np.zeros(100, np.float32))
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(v=variable), str(folder), max_to_keep=5,
                                         keep_checkpoint_every_n_hours=1000)
    for step in (10, 20, 30):
        variable.assign(np.full(100, step, np.float32))
        manager.save(checkpoint_number=step)


KINDS = {
    "Saver, absolute paths": ("model.ckpt", lambda folder: with_saver(folder, True)),
    "Saver, relative paths": ("model.ckpt", lambda folder: with_saver(folder, False)),
    "CheckpointManager": ("ckpt", with_manager),
}


def data(prefix):
    return prefix.with_name(prefix.name + ".data-00000-of-00001")


def index(prefix):
    return prefix.with_name(prefix.name + ".index")


def flip(path):
    content = bytearray(path.read_bytes())
    content[8] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "nothing": lambda prefix: None,
    "a byte flipped": lambda prefix: flip(data(prefix)),
    "the data gone": lambda prefix: data(prefix).unlink(),
    "the data empty": lambda prefix: data(prefix).write_bytes(b""),
    "the index truncated": lambda prefix: index(prefix).write_bytes(index(prefix).read_bytes()[:-20]),
    "the index empty": lambda prefix: index(prefix).write_bytes(b""),
    "the index gone": lambda prefix: index(prefix).unlink(),
}


def value(prefix):
    """What TensorFlow reads of a checkpoint."""
    reader = tf.train.load_checkpoint(str(prefix))
    name = next(name for name in reader.get_variable_to_shape_map() if name == "v" or name.startswith("v/"))
    return float(reader.get_tensor(name)[0])


def finding(folder):
    for kind, (basename, make) in KINDS.items():
        original = folder / "finding-original"
        make(original)
        for damage, apply in DAMAGES.items():
            for state in ("kept", "gone", "garbage"):
                one(f"{kind}, {damage}, state file {state}", folder, original, basename, apply, state)
        shutil.rmtree(original)
    waiting(folder)


def one(what, folder, original, basename, damage, state):
    moved = folder / "finding-moved"
    shutil.copytree(original, moved)
    # So that the absolute paths lead nowhere.
    original.rename(folder / "finding-away")
    damage(moved / f"{basename}-30")
    past = time.time() - 3600
    for path in moved.iterdir():
        os.utime(path, (past, past))
    before = tf.train.get_checkpoint_state(str(moved))
    if state == "gone":
        (moved / "checkpoint").unlink()
    elif state == "garbage":
        (moved / "checkpoint").write_text("model_checkpoint_path: \"mod")
    newest = 20 if "nothing" not in what else 30
    prefix = str(moved / f"{basename}-{newest}")

    found = cli("latest", moved, "--valid")
    check(f"{what}: the newest that is whole is found", found.stdout.strip() == prefix, found)
    repaired = cli("repair", moved, "--delete-broken", "--json")
    check(f"{what}: repaired", repaired.returncode == 0, repaired)
    listed = json.loads(repaired.stdout)["listed"] if repaired.stdout else []
    steps = [10, 20, 30] if newest == 30 else [10, 20]
    check(f"{what}: what is whole is listed", listed == [f"{basename}-{step}" for step in steps], listed)

    check(f"{what}: latest_checkpoint agrees", tf.train.latest_checkpoint(str(moved)) == prefix)
    after = tf.train.get_checkpoint_state(str(moved))
    check(f"{what}: get_checkpoint_state agrees",
          list(after.all_model_checkpoint_paths) == [str(moved / name) for name in listed]
          and after.model_checkpoint_path == prefix, after)
    if state == "kept":
        times = list(before.all_model_checkpoint_timestamps)
        check(f"{what}: the timestamps stay", list(after.all_model_checkpoint_timestamps) == times[:len(steps) if times else 0]
              and after.last_preserved_timestamp == before.last_preserved_timestamp, after)
    check(f"{what}: load_checkpoint reads it", value(moved) == newest == value(prefix))
    check(f"{what}: nothing broken is left", not any(f"{basename}-30" in path.name for path in moved.iterdir())
          or newest == 30, list(moved.iterdir()))
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(), str(moved), max_to_keep=5, checkpoint_name=basename)
    check(f"{what}: CheckpointManager goes on from it", manager.latest_checkpoint == prefix)
    (folder / "finding-away").rename(original)
    shutil.rmtree(moved)


def waiting(folder):
    """Our command waits for what TensorFlow saves, and both name it alike."""
    run = folder / "finding-waiting"
    variable = tf.Variable(0.0)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(v=variable), str(run), max_to_keep=2)
    last = ""
    for number in range(1, 6):
        waits = subprocess.Popen([CLI, "wait", run, "--after", last, "--timeout", "60"], stdout=subprocess.PIPE, text=True)
        saved = manager.save()
        answer = waits.communicate()[0].strip()
        theirs = tf.train.latest_checkpoint(str(run))
        check(f"wait, save {number}: answers with what TensorFlow saved", answer == saved == theirs, (answer, saved, theirs))
        last = answer
    done = cli("wait", run, "--after", last, "--timeout", "0.1")
    check("wait gives up", done.returncode == 3 and not done.stdout, done)
    theirs = list(tf.train.checkpoints_iterator(str(run), timeout=0))
    check("checkpoints_iterator begins with the newest, too", theirs == [cli("wait", run).stdout.strip()], theirs)
