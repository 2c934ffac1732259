"""Recurrent layers that Burn and Candle train with Adam, two biases each: Keras restores them and their moments as objects,
computes the same, makes a step, and gives both back."""
import re

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from shared import check, peer

LIBRARIES = {"keras3": keras, "keras2": tf_keras, "keras2_legacy": tf_keras}
# What the moments are called by names.
SLOTS = {
    "keras3": lambda name: [f"adam/{name.replace('/', '_')}_{slot}" for slot in ("momentum", "velocity")],
    "keras2": lambda name: [f"Adam/{slot}/{name}" for slot in "mv"],
    "keras2_legacy": lambda name: [f"Adam/{name}/{slot}" for slot in "mv"],
}
LAYERS = ("lstm", "bi", "gru", "dense")


def network(library):
    layers = library.layers
    return library.Sequential([library.Input((4, 3)), layers.LSTM(5, return_sequences=True, name="lstm"),
                               layers.Bidirectional(layers.LSTM(2, return_sequences=True, name="lstm"), name="bi"),
                               layers.GRU(4, name="gru"), layers.Dense(3, name="dense")])


def name_of(variable):
    """`bi/forward_lstm/lstm_cell/kernel`: without a model in front, and without the numbers of cells."""
    parts = getattr(variable, "path", variable.name).removesuffix(":0").split("/")
    first = next(at for at, part in enumerate(parts) if part in LAYERS)
    return re.sub(r"_cell_\d+/", "_cell/", "/".join(parts[first:]))


def built(kind):
    """A model, its optimizer, and all of their variables by the names that we save them by."""
    library = LIBRARIES[kind]
    library.backend.clear_session()
    model = network(library)
    optimizers = library.optimizers.legacy if kind == "keras2_legacy" else library.optimizers
    optimizer = optimizers.Adam(0.25)
    trained = model.trainable_variables
    if kind == "keras2_legacy":
        optimizer.apply_gradients([(tf.zeros_like(variable), variable) for variable in trained])
        moments = [[optimizer.get_slot(variable, slot) for slot in "mv"] for variable in trained]
    else:
        optimizer.build(trained)
        moments = list(zip(optimizer._momentums, optimizer._velocities))
    state = {name_of(variable): variable for variable in trained}
    for variable, both in zip(trained, moments):
        state |= dict(zip(SLOTS[kind](name_of(variable)), both))
    return model, optimizer, state


def differing(reader, state):
    return [name for name, variable in state.items()
            if not reader.has_tensor(name) or reader.get_tensor(name).tobytes() != np.asarray(variable).tobytes()]


def recurrent(folder):
    for framework in ("burn", "candle"):
        for kind in LIBRARIES:
            what = f"recurrent layers of {framework} as {kind}"
            objects, names, again = (folder / f"recurrent-{framework}-{kind}-{part}" for part in ("objects", "names", "again"))
            answer = peer("recurrent", framework, kind, objects, 6, names)
            latest = tf.train.latest_checkpoint(str(objects))
            model, optimizer, state = built(kind)
            before = np.array([variable.numpy().sum() for variable in state.values()])
            tf.train.Checkpoint(model=model, optimizer=optimizer).restore(latest).assert_consumed()
            reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(names)))
            wrong = differing(reader, state)
            check(f"{what}: the very weights and moments", not wrong, wrong)
            moved = (np.array([variable.numpy().sum() for variable in state.values()]) != before).all()
            check(f"{what}: which are others than before", bool(moved))
            rate = {"burn": 1e-2, "candle": 1e-3}[framework]
            check(f"{what}: iterations and rate", (int(optimizer.iterations), float(optimizer.learning_rate)) ==
                  (6, np.float32(rate)), (int(optimizer.iterations), float(optimizer.learning_rate)))
            second = [name for name, _ in tf.train.list_variables(latest) if "bias/recurrent" in name or "bias_recurrent" in name]
            check(f"{what}: the second bias and its moments are beside the objects", len(second) >= 3, second)
            y = np.array(answer["output"], np.float32)
            theirs = np.ravel(model(np.array(answer["input"], np.float32).reshape(2, 4, 3)))
            off = np.abs(theirs - y).max() / np.abs(y).max()
            check(f"{what}: TensorFlow computes the same", bool(off < 1e-5), off)

            # A step of Keras, and back. The second biases of before are not in what Keras saves.
            grads = [tf.fill(variable.shape, 0.125) for variable in model.trainable_variables]
            optimizer.apply_gradients(list(zip(grads, model.trainable_variables)))
            theirs = folder / f"recurrent-{framework}-{kind}-theirs"
            manager = tf.train.CheckpointManager(tf.train.Checkpoint(model=model, optimizer=optimizer), str(theirs), 3)
            manager.save()
            peer("recurrent", framework, kind, theirs, 0, again)
            reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(again)))
            wrong = differing(reader, state)
            check(f"{what}: what Keras trained on comes back from it", not wrong, wrong)
