"""The names that each library gives: Candle changes all variables of a network that it calls so, and TensorFlow restores them
into the network that its library builds, and computes the same."""
import importlib.util

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from shared import ROOT, check, peer, v1

FIXTURES = ROOT / "tests" / "fixtures"
spec = importlib.util.spec_from_file_location("make_names", FIXTURES / "make" / "names.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)
# Which network each style is of.
IN_GRAPHS = {"numbered": "numbered", "scopes": "scopes", "slim": "slim", "slim beside": "slim", "averages": "numbered"}


def named(folder):
    known = tf.train.load_checkpoint(str(FIXTURES / "names" / "io"))
    x = known.get_tensor("x")

    def ours(style):
        directory = folder / f"named-{style}"
        y = np.array(peer("named", style, directory)["y"], np.float32)
        return tf.train.latest_checkpoint(str(directory)), y

    def compare(style, theirs, y, before):
        off, changed = (np.abs(np.ravel(other) - y).max() / np.abs(y).max() for other in (theirs, before))
        check(f"names: TensorFlow restores what is called as {style} and computes the same",
              bool(off < 1e-5 and changed > 1e-3), (off, changed))

    for style, network in IN_GRAPHS.items():
        latest, y = ours(style)
        with tf.Graph().as_default(), v1.Session() as session:
            output = make.STYLES[network](tf.constant(x))
            variables = {variable.op.name: variable for variable in v1.global_variables()}
            if style == "averages":
                average = tf.train.ExponentialMovingAverage(0.9)
                average.apply(v1.trainable_variables())
                variables = average.variables_to_restore()
            found = {name for name, _ in tf.train.list_variables(latest)}
            check(f"names: {style} has the names of all variables and no other", found == set(variables) | {"global_step"},
                  found ^ set(variables))
            v1.train.Saver(variables).restore(session, latest)
            compare(style, session.run(output), y, known.get_tensor(f"{'ema' if style == 'averages' else network}/y"))

    before = known.get_tensor("keras2/y")
    for style, library in (("keras2", tf_keras), ("keras2 weights", tf_keras), ("keras3", keras)):
        latest, y = ours(style)
        model = make.depthwise(library)
        model(x)
        if style == "keras2 weights":
            model.load_weights(latest).assert_existing_objects_matched()  # the counter of saves is no weight
        else:
            tf.train.Checkpoint(model=model).restore(latest).assert_consumed()
        compare(style, model(x), y, before)

    # Without an object graph, by the keys that the objects of a model have.
    latest, y = ours("object_paths")
    model = make.depthwise(tf_keras)
    model(x)
    keys = {}
    for number, layer in enumerate(layer for layer in model.layers if layer.variables):
        for variable in layer.variables:
            leaf = variable.name.removesuffix(":0").split("/")[-1]
            keys[f"model/layer_with_weights-{number}/{leaf}/.ATTRIBUTES/VARIABLE_VALUE"] = variable
    found = {name for name, _ in tf.train.list_variables(latest)}
    check("names: object_paths has the keys of all objects and no other", found == set(keys) | {"global_step"},
          found ^ set(keys))
    v1.train.Saver(keys).restore(None, latest)
    compare("object_paths", model(x), y, before)
