"""Optimizers that pass a run from TensorFlow to Candle and back: TensorFlow makes steps 1 to 10, Candle 11 to 15, and
TensorFlow 16 to 20, with nothing but checkpoints between them. All 20 are what TensorFlow computes alone."""
import importlib.util

import keras
import numpy as np
import tensorflow as tf
import tf_keras as k2

from shared import ROOT, check, peer, v1

FIXTURES = ROOT / "tests" / "fixtures"
spec = importlib.util.spec_from_file_location("make_optimizers", FIXTURES / "make" / "optimizers.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)
COUNT = sum(int(np.prod(shape)) for shape in make.SHAPES.values())


def known(case, step):
    """What TensorFlow alone had after this step, all variables in a row."""
    values = np.frombuffer((FIXTURES / "optimizers" / f"{case}.after").read_bytes(), np.float32)
    at = make.RECORDED.index(step)
    return values[at * COUNT:(at + 1) * COUNT]


def compare(case, what, values, step):
    values, expected = np.concatenate([np.ravel(value) for value in values]), known(case, step)
    off = np.abs(values - expected).max() / np.abs(expected).max()
    check(f"{case}: {what}", bool(off <= 1e-5), off)  # false for what is no number


def handed_over(case, folder):
    directory = folder / f"optimizer-{case}"
    latest = peer("optimizer", case, FIXTURES / "optimizers" / case, directory, 15)
    check(f"{case}: latest_checkpoint", latest == tf.train.latest_checkpoint(str(directory)), latest)
    return latest


def of_v1(case, build, folder):
    latest = handed_over(case, folder)
    with tf.Graph().as_default(), v1.Session() as session:
        variables = [v1.get_variable(name, shape, use_resource=True) for name, shape in make.SHAPES.items()]
        step = v1.train.get_or_create_global_step()
        feeds = [v1.placeholder("float32", shape) for shape in make.SHAPES.values()]
        train = build().apply_gradients(list(zip(feeds, variables)), global_step=step)
        v1.train.Saver().restore(session, latest)
        compare(case, "TensorFlow restores what Candle trained", session.run(variables), 15)
        for number in range(16, 21):
            session.run(train, dict(zip(feeds, make.gradients(number, "float32"))))
        compare(case, "TensorFlow trains on", session.run(variables), 20)
        check(f"{case}: global_step", session.run(step) == 20)


def of_keras(case, library, build, folder):
    latest = handed_over(case, folder)
    library.backend.clear_session()
    model, variables = make.network(library, "float32")
    optimizer = build()
    if hasattr(optimizer, "build"):
        optimizer.build(variables)
    status = tf.train.Checkpoint(model=model, optimizer=optimizer).restore(latest)
    compare(case, "Keras restores what Candle trained", [variable.numpy() for variable in variables], 15)
    check(f"{case}: iterations", int(optimizer.iterations.numpy()) == 15)
    if case == "keras2_nadam":
        # A counter that it does not save; without it Keras 2 counts each step as often as there are variables.
        optimizer._u_product_counter = 16
    for number in range(16, 21):
        grads = [tf.constant(value) for value in make.gradients(number, "float32")]
        optimizer.apply_gradients(list(zip(grads, variables)))
    status.assert_consumed()
    compare(case, "Keras trains on", [variable.numpy() for variable in variables], 20)


def optimizers(folder):
    for case, build in make.V1_CASES.items():
        of_v1(case, build, folder)
    for case, build in make.LEGACY_CASES.items():
        of_keras(case, k2, build, folder)
    for name, library in (("keras2", k2), ("keras3", keras)):
        for kind, build in make.of_keras(library.optimizers).items():
            case = f"{name}_{kind}"
            if (FIXTURES / "optimizers" / f"{case}.index").exists():
                of_keras(case, library, build, folder)
