"""Burn's optimizers, from whose checkpoints TensorFlow goes on: it computes in 20 steps what Burn computes."""
import importlib.util

import keras
import numpy as np
import tensorflow as tf

from shared import ROOT, check, peer, v1

T, K3 = v1.train, keras.optimizers
# Burn's own optimizers of these are those of TensorFlow but for where epsilon is added.
BURNS_V1 = {
    "burns_momentum": lambda: T.MomentumOptimizer(0.03, 0.9),
    "burns_nesterov": lambda: T.MomentumOptimizer(0.03, 0.9, use_nesterov=True),
    "burns_adam": lambda: T.AdamOptimizer(0.01, 0.8, 0.95, 1e-12),
    "burns_rmsprop": lambda: T.RMSPropOptimizer(0.01, 0.85, 0.0, 1e-12),
    "burns_adagrad": lambda: T.AdagradOptimizer(0.05),
}
BURNS_KERAS3 = {
    "burns_adam": lambda: K3.Adam(0.01, 0.8, 0.95, 1e-12),
    "burns_amsgrad": lambda: K3.Adam(0.01, 0.8, 0.95, 1e-12, amsgrad=True),
    "burns_lion": lambda: K3.Lion(0.01, 0.8, 0.95),
}
V1_CASES = ("v1_momentum", "v1_nesterov", "v1_adam", "v1_rmsprop", "v1_rmsprop_centered", "v1_adagrad", "v1_adadelta",
            "v1_ftrl_all", "v1_nadam")
START, UNTIL = 10, 30


def formulas():
    """The module that makes the fixtures: its cases, gradients and network."""
    path = ROOT / "tests" / "fixtures" / "make" / "optimizers.py"
    spec = importlib.util.spec_from_file_location("make_optimizers", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def gone_on_by_names(make, prefix, of):
    """TensorFlow restores every variable of the graph and trains on."""
    with tf.Graph().as_default(), v1.Session() as session:
        variables = [v1.get_variable(name, shape, use_resource=True) for name, shape in of.SHAPES.items()]
        step = v1.train.get_or_create_global_step()
        feeds = [v1.placeholder("float32", shape) for shape in of.SHAPES.values()]
        train = make().apply_gradients(list(zip(feeds, variables)), global_step=step)
        v1.train.Saver().restore(session, prefix)
        start = session.run(step)
        for number in range(START + 1, UNTIL + 1):
            session.run(train, dict(zip(feeds, of.gradients(number, "float32"))))
        return start, session.run(variables)


def gone_on_by_objects(make, prefix, of):
    """The same with a model of Keras 3, whose optimizer finds all of its variables."""
    keras.backend.clear_session()
    model, variables = of.network(keras, "float32")
    optimizer = make()
    optimizer.build(variables)
    tf.train.Checkpoint(model=model, optimizer=optimizer).restore(prefix).assert_existing_objects_matched()
    start = int(optimizer.iterations)
    for number in range(START + 1, UNTIL + 1):
        grads = [tf.constant(value) for value in of.gradients(number, "float32")]
        optimizer.apply_gradients(list(zip(grads, variables)))
    return start, [variable.numpy() for variable in variables]


def burn_optimizers(folder):
    of = formulas()
    by_names = {name: of.V1_CASES[name] for name in V1_CASES} | BURNS_V1
    by_objects = of.of_keras(K3) | BURNS_KERAS3
    model, _ = of.network(keras, "float32")
    layers = [operation.name for operation in model._operations]
    worst = 0.0
    for kind, cases, gone_on, arguments in (("names", by_names, gone_on_by_names, ()),
                                            ("objects", by_objects, gone_on_by_objects, layers)):
        for case, make in cases.items():
            what, directory = f"{case} by {kind}", folder / f"burn-optimizer-{kind}-{case}"
            values = np.array(peer("burn-optimizer", directory, case, *arguments), np.float32)
            start, found = gone_on(make, str(directory / "model.ckpt-10"), of)
            check(f"{what}: TensorFlow knows the step", start == START, start)
            sizes = [int(np.prod(shape)) for shape in of.SHAPES.values()]
            # Not Python's `max`, which may leave out what is no number.
            off = np.max([np.abs(theirs.ravel() - ours).max() / np.abs(ours).max()
                          for theirs, ours in zip(found, np.split(values, np.cumsum(sizes)[:-1]))])
            worst = np.maximum(worst, off)
            check(f"{what}: TensorFlow computes in 20 steps what Burn computes", bool(off <= 1e-5), off)
    print(f"Burn's optimizers and TensorFlow's differ by at most {worst:.1e}", flush=True)
