"""Object-based checkpoints against real TensorFlow, both ways: what we write restores into Python objects with
`assert_consumed`, and what TensorFlow and Keras write is found by the names that people know."""
import json
import pathlib

import keras
import numpy as np
import tensorflow as tf
import tf_keras as k2

from shared import check, peer, v1

L = keras.layers


# --- models, each built and with an optimizer that has made a step ----------------------------------------------------

def sequential():
    model = keras.Sequential([keras.Input((8, 8, 1), name="pixels"),
                              L.Conv2D(4, 3, name="conv1", use_bias=False), L.BatchNormalization(name="bn1"),
                              L.ReLU(name="relu1"), L.DepthwiseConv2D(3, name="dw"), L.SeparableConv2D(5, 2, name="sep"),
                              L.Flatten(name="flat"), L.Dropout(0, name="drop"), L.Dense(3, name="fc")], name="digits")
    return model, [operation.name for operation in model._functional._operations]


def functional():
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    x = L.Embedding(7, 4, name="words")(tokens)
    x = L.LayerNormalization(name="norm")(x) + L.Conv1D(4, 2, padding="same", name="conv")(x)
    x = L.Dense(3, name="fc")(L.Flatten(name="flat")(x))
    model = keras.Model(tokens, x, name="texts")
    return model, [operation.name for operation in model._operations]


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="sub")
        self.first, self.second = L.Dense(4, name="first"), L.Dense(3, name="second")

    def call(self, x):
        return self.second(tf.nn.relu(self.first(x)))


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 5), np.float32))
    return model, []


class Module(tf.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.dense = tf.Module(), tf.Module()
        self.conv1.kernel = tf.Variable(tf.zeros((3, 3, 1, 4)))
        self.dense.kernel = tf.Variable(tf.zeros((4, 2)))
        self.dense.bias = tf.Variable(tf.zeros((2,)))
        self.many = [tf.Module() for _ in range(11)]
        for module in self.many:
            module.x = tf.Variable(tf.zeros((1,)))
        self.zeta = tf.Variable(tf.zeros((1,)))

    def named(self):
        return {"conv1/kernel": self.conv1.kernel, "dense/kernel": self.dense.kernel, "dense/bias": self.dense.bias,
                "zeta": self.zeta} | {f"many/{i}/x": module.x for i, module in enumerate(self.many)}


ADAM = {"m": "_momentums", "v": "_velocities"}
MOMENTUM = {"momentum": "momentums"}
OPTIMIZERS = {"adam": (lambda: keras.optimizers.Adam(0.25), ADAM),
              "adamw": (lambda: keras.optimizers.AdamW(0.25), ADAM),
              "momentum": (lambda: keras.optimizers.SGD(0.25, momentum=0.5), MOMENTUM),
              "sgd": (lambda: keras.optimizers.SGD(0.25), {})}
MODELS = {"sequential": sequential, "functional": functional, "subclassed": subclassed}


def built(model, optimizer):
    make, slots = OPTIMIZERS[optimizer]
    model, layers = MODELS[model]()
    optimizer = make()
    optimizer.build(model.trainable_variables)
    return model, layers, optimizer, slots


def names_of(model):
    """Our names, `conv1/kernel`, and the variables of the model."""
    return {"/".join(variable.path.split("/")[-2:]): variable for variable in model.variables}


def state_of(model, optimizer, slots):
    """Every value of a model and its optimizer by the name that we give it."""
    state = names_of(model)
    trained = {id(variable): name for name, variable in state.items()}
    for slot, attribute in slots.items():
        for variable, moment in zip(model.trainable_variables, getattr(optimizer, attribute)):
            state[f"{trained[id(variable)]}/{slot}"] = moment
    return state


def described(values, **layout):
    """A description for our side."""
    variables = [{"name": name, "dtype": array.dtype.name, "shape": list(array.shape), "bytes_hex": array.tobytes().hex()}
                 for name, array in values.items()]
    return json.dumps({**layout, "variables": variables})


def randoms(random, variables):
    return {name: random.standard_normal(tuple(variable.shape)).astype(np.float32) for name, variable in variables.items()}


def differing(values, variables):
    return [name for name, array in values.items() if array.tobytes() != np.asarray(variables[name]).tobytes()]


# --- checks -----------------------------------------------------------------------------------------------------------

def ours_into_keras(folder, random):
    for kind in MODELS:
        for optimizer_kind in OPTIMIZERS:
            what = f"{kind} with {optimizer_kind}"
            model, layers, optimizer, slots = built(kind, optimizer_kind)
            variables = state_of(model, optimizer, slots)
            values = randoms(random, variables)
            spec = folder / "objects.json"
            spec.write_text(described({name: values[name] for name in sorted(values)}, layout=f"keras3_{kind}",
                                      layers=layers, learning_rate=0.125, iterations=7))
            prefix = str(folder / f"{kind}-{optimizer_kind}")
            peer("objects-write", spec, prefix)
            tf.train.Checkpoint(model=model, optimizer=optimizer).read(prefix).assert_consumed()
            check(f"{what}: read into a built model", not differing(values, variables), differing(values, variables))
            counters = int(optimizer.iterations.numpy()), float(optimizer.learning_rate.numpy())
            check(f"{what}: iterations and learning rate", counters == (7, 0.125), counters)

            # The optimizer is built only after the restore. (A model of Keras 3 that is, gets no values from files of
            # TensorFlow either.)
            (model, layers), optimizer = MODELS[kind](), OPTIMIZERS[optimizer_kind][0]()
            status = tf.train.Checkpoint(model=model, optimizer=optimizer).read(prefix)
            optimizer.build(model.trainable_variables)
            status.assert_consumed()
            variables = state_of(model, optimizer, slots)
            check(f"{what}: read before it is built", not differing(values, variables), differing(values, variables))

            reader = tf.train.load_checkpoint(prefix)
            keys = reader.get_variable_to_shape_map()
            check(f"{what}: load_checkpoint reads every key", all(reader.get_tensor(key) is not None for key in keys))
            if not slots:
                continue
            # TensorFlow, writing the same objects, chooses the same keys for them.
            theirs = tf.train.Checkpoint(model=model, optimizer=optimizer).write(str(folder / "theirs"))
            known = set(tf.train.load_checkpoint(theirs).get_variable_to_shape_map())
            check(f"{what}: the keys are TensorFlow's", set(keys) == known, set(keys) ^ known)


def ours_into_module(folder, random):
    model, step = Module(), tf.Variable(0, dtype=tf.int64)
    optimizer = v1.train.AdamOptimizer(0.1)
    optimizer.minimize(lambda: tf.add_n([tf.reduce_sum(variable) for variable in model.trainable_variables]))
    variables = model.named()
    for name, variable in list(variables.items()):
        variables[f"{name}/Adam"] = optimizer.get_slot(variable, "m")
        variables[f"{name}/Adam_1"] = optimizer.get_slot(variable, "v")
    power1, power2 = optimizer._get_beta_accumulators()
    variables |= {"beta1_power": power1, "beta2_power": power2}
    values = randoms(random, variables)
    # What our own optimizers count besides is for nobody else.
    counters = {"Adam/iterations": np.int64(5), "conv1/kernel/Adam/time": np.int64(5)}
    spec = folder / "objects.json"
    spec.write_text(described({**values, **counters}, layout="module", step="step"))
    directory = folder / "module"
    latest = peer("objects-save", spec, directory, 3, 8, 21)
    check("module: latest_checkpoint", latest == tf.train.latest_checkpoint(str(directory)), latest)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, step=step)
    checkpoint.restore(latest).assert_consumed()
    check("module: restored with slots", not differing(values, variables), differing(values, variables))
    check("module: step and save counter", (int(step), int(checkpoint.save_counter)) == (21, 21))
    manager = tf.train.CheckpointManager(checkpoint, str(directory), max_to_keep=3)
    saved = manager.save()
    check("module: CheckpointManager goes on", saved == str(directory / "ckpt-22"), saved)

    # Names of TensorFlow 1 lead through the graph.
    with tf.Graph().as_default(), v1.Session() as session:
        made = {name: v1.get_variable(name, initializer=np.zeros_like(array), use_resource=True)
                for name, array in values.items()}
        v1.train.Saver(made).restore(session, latest)
        found = session.run(made)
    check("module: Saver().restore by names", not differing(values, found), differing(values, found))


def ours_into_module_of_keras(folder, random):
    """`tf.Module` with an optimizer of Keras 3, whose list is in the order of `trainable_variables`."""
    model, optimizer = Module(), keras.optimizers.Adam(0.5)
    optimizer.build(model.trainable_variables)
    variables = model.named()
    trained = {id(variable): name for name, variable in list(variables.items())}
    for slot, attribute in ADAM.items():
        for variable, moment in zip(model.trainable_variables, getattr(optimizer, attribute)):
            variables[f"{trained[id(variable)]}/{slot}"] = moment
    values = randoms(random, variables)
    spec = folder / "objects.json"
    spec.write_text(described(values, layout="module", optimizer="keras3", learning_rate=0.5, iterations=2, root="net"))
    prefix = str(folder / "module-keras3")
    peer("objects-write", spec, prefix)
    tf.train.Checkpoint(net=model, optimizer=optimizer).read(prefix).assert_consumed()
    check("module with an optimizer of Keras 3", not differing(values, variables), differing(values, variables))


def theirs_by_name(folder, random):
    for kind in MODELS:
        for optimizer_kind in OPTIMIZERS:
            model, _, optimizer, slots = built(kind, optimizer_kind)
            variables = state_of(model, optimizer, slots)
            for variable in variables.values():
                variable.assign(random.standard_normal(tuple(variable.shape)))
            path = tf.train.Checkpoint(model=model, optimizer=optimizer).save(str(folder / "keras" / kind / "ckpt"))
            if kind == "subclassed":  # full names of such models leave out the layers; attributes are their names here
                check("subclassed: attributes are layers", {name.split("/")[0] for name in names_of(model)} <=
                      {"first", "second", "sub"}, list(names_of(model)))
            names = folder / "names.json"
            names.write_text(json.dumps(list(variables)))
            found = peer("objects-find", path, names)
            wrong = [(name, found[name].get("error")) for name, variable in variables.items()
                     if found[name].get("bytes_hex") != variable.numpy().tobytes().hex()]
            check(f"{kind} with {optimizer_kind}: we find everything by name", not wrong, wrong)


def nested(folder, random):
    """Layers that hold layers, and a step beside the model."""
    tokens = keras.Input((6,), name="tokens")
    x = L.Dropout(0.5, name="drop")(L.Embedding(7, 4, name="words")(tokens))
    x = L.MultiHeadAttention(2, 2, name="heads")(x, x)
    x = L.Bidirectional(L.LSTM(3, return_sequences=True), name="both")(x)
    x = L.GRU(3, name="gru")(x)
    model, optimizer, step = keras.Model(tokens, L.PReLU(name="bent")(x)), keras.optimizers.Adam(0.5), tf.Variable(0, dtype=tf.int64)
    optimizer.build(model.trainable_variables)
    variables = {variable.path: variable for variable in model.variables if "seed_generator" not in variable.path}
    for slot, attribute in ADAM.items():
        for variable, moment in zip(model.trainable_variables, getattr(optimizer, attribute)):
            variables[f"{variable.path}/{slot}"] = moment
    values = randoms(random, variables)
    spec = folder / "objects.json"
    spec.write_text(described(values, layout="keras3_functional", step="step", learning_rate=0.5,
                              layers=[operation.name for operation in model._operations]))
    directory = folder / "nested"
    latest = peer("objects-save", spec, directory, 4, 9)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, step=step)
    checkpoint.restore(latest).assert_consumed()
    check("nested layers: restored", not differing(values, variables), differing(values, variables))
    check("nested layers: counters", (int(step), int(checkpoint.save_counter), int(optimizer.iterations.numpy())) == (9, 9, 9))
    manager = tf.train.CheckpointManager(checkpoint, str(directory), max_to_keep=2)
    check("nested layers: CheckpointManager goes on", manager.save() == str(directory / "ckpt-10"))


def keras2(folder, random):
    """Keras 2: its optimizers of both kinds, and `load_weights`, which reads checkpoints."""
    layers = [k2.layers.InputLayer((8, 8, 1), name="pixels"), k2.layers.Conv2D(4, 3, name="conv1", use_bias=False),
              k2.layers.BatchNormalization(name="bn1"), k2.layers.ReLU(name="relu1"), k2.layers.Flatten(name="flat"),
              k2.layers.Dense(3, name="fc")]

    def functional():
        x = pixels = k2.Input((8, 8, 1), name="pixels")
        for layer in layers[1:]:
            x = type(layer).from_config(layer.get_config())(x)
        return k2.Model(pixels, x)

    kinds = {"sequential": lambda: k2.Sequential([type(layer).from_config(layer.get_config()) for layer in layers]),
             "functional": functional}
    optimizers = {"keras2": lambda: k2.optimizers.Adam(0.25), "keras2_legacy": lambda: k2.optimizers.legacy.Adam(0.25)}
    for kind, make in kinds.items():
        for optimizer_kind, make_optimizer in optimizers.items():
            what = f"Keras 2 {kind} with {optimizer_kind}"
            model, optimizer = make(), make_optimizer()
            optimizer.apply_gradients([(tf.zeros_like(v), v) for v in model.trainable_variables])
            variables = {variable.name.split(":")[0]: variable for variable in model.variables}
            for i, variable in enumerate(model.trainable_variables):
                name = variable.name.split(":")[0]
                legacy = optimizer_kind == "keras2_legacy"
                variables[f"{name}/m"] = optimizer.get_slot(variable, "m") if legacy else optimizer._momentums[i]
                variables[f"{name}/v"] = optimizer.get_slot(variable, "v") if legacy else optimizer._velocities[i]
            values = randoms(random, variables)
            more = {"beta_1": 0.5, "beta_2": 0.75, "decay": 0.0} if optimizer_kind == "keras2_legacy" else {}
            spec = folder / "objects.json"
            spec.write_text(described(values, layout="keras2", layers=[layer.name for layer in model.layers],
                                      optimizer=optimizer_kind, learning_rate=0.5, iterations=4, hyperparameters=more))
            prefix = str(folder / f"keras2-{kind}-{optimizer_kind}")
            peer("objects-write", spec, prefix)
            tf.train.Checkpoint(model=model, optimizer=optimizer).read(prefix).assert_consumed()
            check(f"{what}: read", not differing(values, variables), differing(values, variables))
            check(f"{what}: iterations and rate", (int(optimizer.iterations), float(optimizer.learning_rate)) == (4, 0.5))
            theirs = tf.train.Checkpoint(model=model, optimizer=optimizer).write(str(folder / "theirs2"))
            keys = [set(tf.train.load_checkpoint(path).get_variable_to_shape_map()) for path in (prefix, theirs)]
            check(f"{what}: the keys are TensorFlow's", keys[0] == keys[1], keys[0] ^ keys[1])
            names = folder / "names.json"
            names.write_text(json.dumps(list(variables)))
            found = peer("objects-find", theirs, names)
            wrong = [(name, found[name].get("error")) for name in variables
                     if found[name].get("bytes_hex") != values[name].tobytes().hex()]
            check(f"{what}: we find everything by name", not wrong, wrong)
        weights = {variable.name.split(":")[0]: values[variable.name.split(":")[0]] for variable in model.variables}
        spec.write_text(described(weights, layout="keras2", layers=[layer.name for layer in model.layers], root=""))
        prefix = str(folder / f"keras2-{kind}-weights")
        peer("objects-write", spec, prefix)
        model = make()
        model.load_weights(prefix).assert_consumed()
        variables = {variable.name.split(":")[0]: variable for variable in model.variables}
        check(f"Keras 2 {kind}: load_weights", not differing(weights, variables), differing(weights, variables))


def load_weights(folder):
    """Keras 3 itself reads no such files, ours or TensorFlow's."""
    model, _ = sequential()
    try:
        model.load_weights(str(folder / "sequential-adam"))
        check("Keras 3 has learnt to load checkpoints", False, "say so in the documentation")
    except ValueError as error:
        check("load_weights of Keras 3 refuses checkpoints", "File format not supported" in str(error), str(error))


def objects(folder):
    folder = pathlib.Path(folder) / "objects"
    folder.mkdir()
    random = np.random.default_rng(11)
    ours_into_keras(folder, random)
    ours_into_module(folder, random)
    ours_into_module_of_keras(folder, random)
    theirs_by_name(folder, random)
    nested(folder, random)
    keras2(folder, random)
    load_weights(folder)
