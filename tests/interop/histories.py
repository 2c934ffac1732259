"""Scripted histories of saves under a clock that the script sets, through TensorFlow's Saver and CheckpointManager and
through ours: after each step both have the same state file, the same files and the same list of checkpoints."""
import json
import os
import random
import subprocess
import time

import numpy as np
import tensorflow as tf
from tensorflow.python.checkpoint import checkpoint_management
from tensorflow.python.training import saver as saver_module

from shared import PEER, check, v1

START = 1_700_000_000
HISTORIES = 60


class FakeTime:
    """The module `time` as TensorFlow's two files see it."""

    def __init__(self):
        self.now = START

    def time(self):
        return float(self.now)

    def __getattr__(self, name):
        return getattr(time, name)


class Ours:
    """Our side, which follows the same script."""

    def __init__(self, kind, directory, folder):
        self.process = subprocess.Popen([PEER, kind, str(directory)], cwd=folder, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def ask(self, do, **arguments):
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        return json.loads(answer) if answer else {"error": "no answer"}

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class History:
    """One script on both sides. `relative`: the directories are named as seen from where both work."""

    def __init__(self, kind, name, folder, clock, relative=False):
        self.name, self.folder, self.clock = f"{kind} {name}", folder, clock
        paths = [folder / f"{kind}-{name}-{side}" for side in ("ours", "theirs")]
        paths[1].mkdir()
        self.ours_path, self.theirs_path = paths
        self.ours, self.theirs = [str(path.relative_to(folder) if relative else path) for path in paths]
        self.peer = Ours(kind, self.ours, folder)
        self.steps = []

    def ask(self, do, **arguments):
        answer = self.peer.ask(do, **arguments)
        if isinstance(answer, dict):
            check(f"{self.name}: {do}", False, f"{arguments} {answer} after {self.steps}")
        return answer

    def mine(self, prefix):
        """A path of theirs as ours."""
        return None if prefix is None else os.fspath(prefix).replace(self.theirs, self.ours)

    def compare(self, step, checkpoints, state_file="checkpoint"):
        """`checkpoints`: TensorFlow's list, if it has one."""
        self.steps.append(step)
        what = f"{self.name}, step {len(self.steps)}"
        listings, states = [], []
        for path in (self.ours_path, self.theirs_path):
            # Hidden: our lock.
            names = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith(".")) if path.exists() else []
            listings.append(names)
            state = path / state_file
            text = state.read_text() if state.exists() else None
            states.append(text and text.replace(str(path), "DIRECTORY"))
        check(f"{what}: the same files", listings[0] == listings[1], f"{listings} after {self.steps}")
        check(f"{what}: the same state file", states[0] == states[1], f"{states} after {self.steps}")
        if checkpoints is None:
            return
        ours, theirs = self.ask("checkpoints"), [self.mine(prefix) for prefix in checkpoints]
        check(f"{what}: the same checkpoints", ours == theirs, f"{ours} {theirs} after {self.steps}")

    def set_file_times(self):
        """What has been written just now was written at the time of the script, on both sides."""
        for path in (self.ours_path, self.theirs_path):
            for entry in path.glob("*.index"):
                if entry.stat().st_mtime > START + 10 ** 8:
                    os.utime(entry, (self.clock.now, self.clock.now))


# --- Saver ------------------------------------------------------------------------------------------------------------

class SaverHistory(History):
    def __init__(self, name, folder, clock, relative=False, latest_filename=None, **options):
        super().__init__("saver", name, folder, clock, relative)
        self.options, self.latest_filename = options, latest_filename
        self.graph = tf.Graph()
        with self.graph.as_default():
            self.variable = v1.get_variable("v", initializer=np.float32(0), use_resource=True)
            self.global_step = v1.train.get_or_create_global_step()
        self.session = v1.Session(graph=self.graph)
        self.session.run([self.variable.initializer, self.global_step.initializer])
        self.start()

    def start(self, **changed):
        """A new process, which in TensorFlow recovers the list of checkpoints as MonitoredTrainingSession does."""
        self.options |= changed
        with self.graph.as_default():
            self.saver = v1.train.Saver([self.variable, self.global_step], **self.options)
        state = v1.train.get_checkpoint_state(self.theirs, self.latest_filename)
        if state:
            self.saver.recover_last_checkpoints(list(state.all_model_checkpoint_paths))
        self.ask("start", time=self.clock.now, options={**self.options, "latest_filename": self.latest_filename})

    def restart(self, **changed):
        self.start(**changed)
        self.compare(("restart", changed), self.saver.last_checkpoints, self.latest_filename or "checkpoint")

    def save(self, step, seconds=0, write_state=True):
        self.clock.now += seconds
        with self.graph.as_default():
            self.variable.load(step, self.session)
            self.global_step.load(step, self.session)
            saved = self.saver.save(self.session, os.path.join(self.theirs, "model.ckpt"), global_step=step,
                                    latest_filename=self.latest_filename, write_state=write_state, write_meta_graph=False)
        answer = self.ask("save", time=self.clock.now, step=step, write_state=write_state)
        check(f"{self.name}: the same prefix", answer == self.mine(saved), f"{answer} {saved}")
        self.set_file_times()
        # One that keeps all has no list, and ours the newest, as the state file.
        listed = self.saver.last_checkpoints if self.options["max_to_keep"] else None
        self.compare(("save", step, seconds, write_state), listed, self.latest_filename or "checkpoint")

    def recover(self, prefixes):
        self.saver.recover_last_checkpoints(prefixes)
        self.ask("recover", checkpoints=[self.mine(prefix) for prefix in prefixes])
        self.compare(("recover", prefixes), self.saver.last_checkpoints, self.latest_filename or "checkpoint")

    def set_times(self, checkpoints):
        self.saver.set_last_checkpoints_with_time(list(checkpoints))
        self.ask("set_times", checkpoints=[(self.mine(prefix), time) for prefix, time in checkpoints])
        self.compare(("set times", checkpoints), self.saver.last_checkpoints, self.latest_filename or "checkpoint")

    def close(self):
        if self.latest_filename is None:
            answer, latest = self.ask("latest"), tf.train.latest_checkpoint(self.theirs)
            check(f"{self.name}: latest_checkpoint agrees", answer == self.mine(latest), f"{answer} {latest}")
        self.session.close()
        self.peer.close()


def saver_vectors(folder, clock):
    for n, (keep, hours, minutes) in enumerate([(2, 1.0, 30), (1, 1.0, 30), (2, 2.0, 20), (3, 0.5, 60)]):
        history = SaverHistory(f"vector-{n}", folder, clock, max_to_keep=keep, keep_checkpoint_every_n_hours=hours)
        for step in range(1, 13):
            history.save(step, minutes * 60)
        history.close()


def saver_keeps(folder, clock):
    """However many are kept, down to the bytes of all files."""
    for keep in (5, 2, 1, 0):
        history = SaverHistory(f"keep-{keep}", folder, clock, max_to_keep=keep, save_relative_paths=True)
        for step in (10, 20, 30, 300, 301, 302, 1000):
            history.save(step, 60)
            files = [(history.ours_path / path.name, path) for path in history.theirs_path.iterdir()]
            check(f"{history.name}: the files are byte-identical",
                  all(ours.read_bytes() == theirs.read_bytes() for ours, theirs in files))
        for path in (history.ours_path, history.theirs_path):
            (path / "model.ckpt-1000.index").unlink()
        history.close()


def saver_options(folder, clock):
    ways = {"padded": {"pad_step_number": True}, "named": {"latest_filename": "other"},
            "relative-paths": {"save_relative_paths": True}, "relative": {"relative": True},
            "relative-both": {"relative": True, "save_relative_paths": True}}
    for way, options in ways.items():
        history = SaverHistory(way, folder, clock, max_to_keep=2, **options)
        for step in (-3, 0, 7, 123456789, 1234567890):
            history.save(step, 60)
        history.restart()
        for step in (2_000_000_000, 2_000_000_001, 2_000_000_002):
            history.save(step, 60)
        history.close()


def saver_at_random(folder, clock, n, random):
    hours = random.choice([None, 0.5, 1.0, 2.0])
    options = {"max_to_keep": random.choice([1, 2, 3, 5]), "pad_step_number": random.random() < .3,
               "save_relative_paths": random.random() < .5, "latest_filename": random.choice([None, None, "other"])}
    options |= {} if hours is None else {"keep_checkpoint_every_n_hours": hours}
    history = SaverHistory(f"random-{n}", folder, clock, relative=random.random() < .3, **options)
    step = 0
    for _ in range(random.randrange(10, 30)):
        last = history.saver.last_checkpoints
        kind = random.random()
        if kind < .08:
            history.restart()
        elif kind < .12:
            # A subset in any case, and with one that is not there.
            history.recover([prefix for prefix in last if random.random() < .7] + [os.path.join(history.theirs, "model.ckpt-99999999")])
        elif kind < .16:
            times = sorted(clock.now - random.randrange(20_000) for _ in last)
            history.set_times(list(zip(last, times)))
        else:
            again = kind > .95 and bool(last)
            step = step if again else step + random.choice([1, 1, 10, 500])
            history.save(step, random.choice([0, 1, 600, 1800, 3600, 3601, 10_000, -4000]), again or random.random() < .85)
    history.close()


# --- CheckpointManager ------------------------------------------------------------------------------------------------

class ManagerHistory(History):
    def __init__(self, name, folder, clock, relative=False, **options):
        super().__init__("manager", name, folder, clock, relative)
        self.options = options
        self.start()

    def start(self, **changed):
        """A new process."""
        self.options |= changed
        module = tf.Module()
        module.v = tf.Variable(np.float32(0))
        self.step = tf.Variable(0, dtype=tf.int64)
        self.checkpoint = tf.train.Checkpoint(model=module, step=self.step)
        self.manager = tf.train.CheckpointManager(self.checkpoint, self.theirs, step_counter=self.step, **self.options)
        answer, latest = self.ask("start", time=self.clock.now, options=self.options), self.manager.latest_checkpoint
        check(f"{self.name}: the same latest_checkpoint", answer == self.mine(latest), f"{answer} {latest}")

    def restart(self, through_manager=True, **changed):
        self.start(**changed)
        if through_manager:
            answer, restored = self.ask("restore_or_initialize"), self.manager.restore_or_initialize()
            check(f"{self.name}: the same is restored", answer == self.mine(restored), f"{answer} {restored}")
        elif self.manager.latest_checkpoint:
            self.checkpoint.restore(self.manager.latest_checkpoint)
        self.compare(("restart", through_manager, changed), self.manager.checkpoints)

    def save(self, step, seconds=0, number=None, check_interval=True):
        self.clock.now += seconds
        self.step.assign(step)
        self.checkpoint.model.v.assign(step)
        saved = self.manager.save(checkpoint_number=number, check_interval=check_interval)
        answer = self.ask("save", time=self.clock.now, step=step, number=number, check_interval=check_interval)
        check(f"{self.name}: the same prefix", answer == self.mine(saved), f"{answer} {saved} after {self.steps}")
        self.compare(("save", step, seconds, number, check_interval), self.manager.checkpoints)

    def close(self):
        """TensorFlow restores what we saved, the counter included."""
        latest = tf.train.latest_checkpoint(self.ours_path)
        check(f"{self.name}: latest_checkpoint agrees", latest == self.mine(tf.train.latest_checkpoint(self.theirs_path)))
        module = tf.Module()
        module.v = tf.Variable(np.float32(-1))
        checkpoint = tf.train.Checkpoint(model=module, step=tf.Variable(-1, dtype=tf.int64))
        checkpoint.save_counter  # as in a program that has saved
        checkpoint.restore(latest).assert_consumed()
        found = [int(checkpoint.step), float(module.v), int(checkpoint.save_counter)]
        expected = [int(self.step), float(self.step), int(self.checkpoint.save_counter)]
        check(f"{self.name}: TensorFlow restores ours", found[2] == expected[2] and found[0] == found[1], f"{found} {expected}")
        self.peer.close()


def manager_vectors(folder, clock):
    for n, (keep, hours, minutes) in enumerate([(2, 1.0, 30), (2, 2.0, 20)]):
        history = ManagerHistory(f"vector-{n}", folder, clock, max_to_keep=keep, keep_checkpoint_every_n_hours=hours)
        for step in range(1, 13):
            history.save(step, minutes * 60)
        history.close()


def manager_at_random(folder, clock, n, random):
    options = {"max_to_keep": random.choice([None, 1, 2, 3, 5]),
               "keep_checkpoint_every_n_hours": random.choice([None, 0.5, 1.0, 2.0]),
               "checkpoint_interval": random.choice([None, None, 1, 10, 100]),
               "checkpoint_name": random.choice(["ckpt", "a.b"])}
    history = ManagerHistory(f"random-{n}", folder, clock, relative=random.random() < .3, **options)
    step = 0
    for _ in range(random.randrange(10, 30)):
        kind = random.random()
        if kind < .12:
            changed = {} if random.random() < .5 else {"max_to_keep": random.choice([1, 2, 4])}
            history.restart(through_manager=random.random() < .7, **changed)
        else:
            step += random.choice([0, 1, 9, 10, 50])
            number = random.choice([step, random.randrange(40)]) if kind > .85 else None
            history.save(step, random.choice([0, 1, 600, 1800, 3600, 3601, 10_000, -4000]), number, random.random() < .8)
    history.save(step + 1000, 60)
    history.close()


def histories(folder, seed):
    clock, before = FakeTime(), os.getcwd()
    folder = folder / "histories"
    folder.mkdir()
    saver_module.time = checkpoint_management.time = clock
    os.chdir(folder)
    try:
        saver_keeps(folder, clock)
        saver_vectors(folder, clock)
        saver_options(folder, clock)
        manager_vectors(folder, clock)
        for n in range(HISTORIES):
            clock.now = START
            saver_at_random(folder, clock, n, random.Random(f"saver {seed} {n}"))
            clock.now = START
            manager_at_random(folder, clock, n, random.Random(f"manager {seed} {n}"))
    finally:
        os.chdir(before)
        saver_module.time = checkpoint_management.time = time
