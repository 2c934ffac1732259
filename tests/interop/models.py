"""Whole networks under the names of their authors: what TensorFlow built computes the same in Candle and Burn, and what these
save of it, all variables changed, is restored by the code that built it, which then computes what they compute."""
import importlib.util
import sys

import numpy as np
import tensorflow as tf

from shared import ROOT, check, peer, v1

sys.path.insert(0, str(ROOT / "tests" / "fixtures" / "make"))
import models_shared

spec = importlib.util.spec_from_file_location("make_models", ROOT / "tests" / "fixtures" / "make" / "models.py")
makers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(makers)

# Where there is more than one network in a checkpoint, or more than one way to hold it.
CASES = {
    "electra_small": ["electra_small", "electra_small generator"],
    "electra_base": ["electra_base", "electra_base generator"],
    "electra_untied": ["electra_untied generator"],
    "electra_tied": ["electra_tied generator"],
    "electra_tasks": ["electra_tasks mnli", "electra_tasks squad"],
    "gpt2": ["gpt2", "gpt2 conv1d"],
}
IN_BURN = ("bert", "bert_classifier", "electra_base")


def models(folder, seed):
    worst = {}
    of_files = models_shared.Kept.keep
    # BERT as it was just initialized, with other weights each time; all others with those of the repository.
    models_shared.SEED, models_shared.OUT = [seed], folder / "models"

    def keep_fresh(kept, session):
        of_files(kept, session)
        there_and_back("candle", "bert", kept, session, folder / "fresh-bert", worst)
    models_shared.Kept.keep = keep_fresh
    makers.bert()

    models_shared.SEED, models_shared.OUT = [], ROOT / "tests" / "fixtures" / "models"

    def keep(kept, session):
        name = kept.folder.name
        for case in CASES.get(name, [name]):
            there_and_back("candle", case, kept, session, folder / f"candle-{case}", worst)
        if name in IN_BURN:
            there_and_back("burn", name, kept, session, folder / f"burn-{name}", worst)
    models_shared.Kept.keep = keep
    for make in makers.MODELS:
        make()
    worst = ", ".join(f"{case} {off:.1e}" for case, off in worst.items())
    print(f"models differ by at most: {worst}", flush=True)


def there_and_back(framework, case, kept, session, directory, worst):
    """`kept` is the network in TensorFlow, with a folder of its checkpoint and inputs."""
    answer = peer("model", framework, case, kept.folder, directory)
    case = f"{case} in {framework}"
    check(f"models: {case} finds all variables", answer["missing"] == [], answer["missing"])
    before = session.run({name: kept.outputs[name] for name in answer["loaded"]})
    compare(case, "computed", before, answer["loaded"], worst)
    latest = tf.train.latest_checkpoint(str(directory)) or str(directory / "model.ckpt")
    ours = {name for name, _ in tf.train.list_variables(latest)}
    variables = {variable.op.name: variable for variable in v1.global_variables()}
    others = ours - set(variables) - {"global_step"}
    check(f"models: all that is saved of {case} is its own", not others, others)
    restored = {name: variable for name, variable in variables.items() if name in ours}
    v1.train.Saver(restored).restore(session, latest)
    after = session.run({name: kept.outputs[name] for name in answer["changed"]})
    compare(case, "restored by TensorFlow", after, answer["changed"], worst)
    for name, values in after.items():
        changed = np.abs(values - before[name]).max() / np.abs(values).max()
        check(f"models: {name} of {case} is not what it was", changed > 1e-3, changed)
    session.run(v1.global_variables_initializer())  # for the next one


def compare(case, what, theirs, ours, worst):
    for name, values in theirs.items():
        numbers = np.array(ours[name]["values"], np.float32).reshape(ours[name]["shape"])
        # Candle computes the first words of T5 alone.
        values = values[tuple(slice(size) for size in numbers.shape)]
        off = np.abs(values - numbers).max() / np.abs(values).max()
        worst[case] = float(np.maximum(worst.get(case, 0), off))
        check(f"models: {name} of {case} {what}", bool(off < 1e-5), off)
