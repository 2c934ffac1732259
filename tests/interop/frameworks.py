"""Burn and Candle: runs that pass from TensorFlow to them and back, and the checkpoints of the examples."""
import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import tensorflow as tf

from graphs import IMPORT
from savers import restored
from shared import DEBUG, DIGITS, ROOT, check, equal, peer, v1, whole_parts, write_theirs


def digits():
    """Images [n, 8, 8, 1] in 0..=1 and labels [n], of which the first 1500 train."""
    rows = np.loadtxt(ROOT / "data" / "digits.csv.gz", delimiter=",", dtype=np.float32)
    return (rows[:, :64] / np.float32(16)).reshape(-1, 8, 8, 1), rows[:, 64].astype(np.int32)


def batches_in(folder):
    """The training images and labels as a checkpoint for our side, which several parts share."""
    batches = folder / "batches"
    if not (folder / "batches.index").exists():
        images, labels = digits()
        write_theirs(whole_parts({b"images": ("float32", images[:1500]), b"labels": ("int32", labels[:1500])}), batches)
    return batches


def trained_on(directory, images, labels, until):
    """What TensorFlow computes when it takes up the run in a directory, with the graph of data/make_tf_digits.py: the
    step it begins at, the loss of each step until the last one, the logits of the test images after that, and all
    variables by their names."""
    with tf.Graph().as_default():
        x, y = v1.placeholder(tf.float32, [None, 8, 8, 1]), v1.placeholder(tf.int32, [None])
        step = v1.train.get_or_create_global_step()
        hidden = x
        for name, channels in (("conv1", (1, 8)), ("conv2", (8, 16))):
            with v1.variable_scope(name):
                kernel = v1.get_variable("kernel", (3, 3, *channels), use_resource=True)
                bias = v1.get_variable("bias", channels[1:], use_resource=True)
            hidden = tf.nn.relu(tf.nn.conv2d(hidden, kernel, 1, "SAME") + bias)
            hidden = tf.nn.max_pool2d(hidden, 2, 2, "SAME")
        with v1.variable_scope("dense"):
            kernel = v1.get_variable("kernel", (64, 10), use_resource=True)
            bias = v1.get_variable("bias", (10,), use_resource=True)
        logits = tf.nn.bias_add(tf.matmul(tf.reshape(hidden, [-1, 64]), kernel), bias)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
        train = v1.train.AdamOptimizer(1e-3, epsilon=1e-8).minimize(loss, global_step=step)
        with v1.Session() as session:
            v1.train.Saver().restore(session, tf.train.latest_checkpoint(str(directory)))
            start, losses = session.run(step), []
            for n in range(start, until):
                rows = slice(n * 50 % 1500, n * 50 % 1500 + 50)
                losses.append(session.run([loss, train], {x: images[rows], y: labels[rows]})[0])
            variables = {variable.op.name: session.run(variable) for variable in v1.global_variables()}
            return start, losses, session.run(logits, {x: images[1500:]}), variables


def begun(directory):
    """A directory in which TensorFlow's run has come to step 240."""
    directory.mkdir()
    for path in (DIGITS / "saver").glob("model.ckpt-240.*"):
        shutil.copy(path, directory)
    (directory / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-240"\n')
    return directory


def relay(folder):
    """A run that passes from TensorFlow to one framework, to the other and back, by nothing but checkpoints: each loss and
    the weights at its end are those of TensorFlow alone."""
    images, labels = digits()
    expected = json.loads((DIGITS / "expected.json").read_text())["saver"]["losses"]
    alone = tf.train.load_checkpoint(str(DIGITS / "saver" / "model.ckpt-360"))
    batches = batches_in(folder)
    for first, second in (("burn", "candle"), ("candle", "burn")):
        what, directory = f"TensorFlow, {first}, {second}, TensorFlow", begun(folder / f"relay-{first}")
        losses = []
        for framework, until in ((first, 280), (second, 320)):
            losses += peer(framework, directory, batches, until, "names")["losses"]
        start, last, _, variables = trained_on(directory, images, labels, 360)
        losses += last
        check(f"{what}: TensorFlow takes over at step 320", start == 320 and len(losses) == 120, (start, len(losses)))
        off = np.abs(np.array(losses) / np.array(expected[240:]) - 1)
        print(f"{what}: losses off by {off[:40].max():.1e}, {off[40:80].max():.1e}, {off[80:].max():.1e}", flush=True)
        check(f"{what}: every loss", bool((off <= 1e-5).all()), off)
        weights = {name: value for name, value in variables.items() if name.split("/")[-1] in ("kernel", "bias")}
        off = np.max([np.abs(value - (known := alone.get_tensor(name))).max() / np.abs(known).max()
                      for name, value in weights.items()])
        print(f"{what}: weights off by {off:.1e}", flush=True)
        check(f"{what}: the weights at the end", len(weights) == 6 and bool(off <= 1e-5), off)
        check(f"{what}: the powers of the betas", all(
            variables[name] == alone.get_tensor(name) for name in ("beta1_power", "beta2_power")))


def frameworks(folder):
    """A run that passes from TensorFlow to Burn or Candle and back, in one directory: it computes what TensorFlow alone
    computed, from weights, moments and counters that each took over from the other."""
    images, labels = digits()
    expected = json.loads((DIGITS / "expected.json").read_text())["saver"]
    batches = batches_in(folder)
    for framework in ("burn", "candle"):
        directory = begun(folder / framework)
        live = peer(framework, directory, batches, 300, "names")["live"]
        latest = tf.train.latest_checkpoint(str(directory))
        check(f"{framework}: latest_checkpoint is the one just saved", latest == str(directory / "model.ckpt-300"), latest)
        reader = tf.train.load_checkpoint(latest)
        for name, values in live.items():
            check(f"{framework}: TensorFlow reads {name} bit for bit", reader.get_tensor(name).tobytes().hex() == values)
        start, losses, logits, _ = trained_on(directory, images, labels, 360)
        check(f"{framework}: TensorFlow restores weights, slots, counters and global_step", start == 300, start)
        off = max(abs(loss / known - 1) for loss, known in zip(losses, expected["losses"][start:]))
        check(f"{framework}: TensorFlow trains on with the same losses", len(losses) == 60 and off < 1e-4, off)
        off = np.abs(logits[:16] - np.array(expected["logits"])).max()
        accuracy = (logits.argmax(1) == labels[1500:]).mean()
        check(f"{framework}: and ends with the same network", off < 1e-3 and accuracy == expected["accuracy"], off)


def python_objects(folder):
    """Runs of Burn and Candle, saved as the objects of a Python program: a Keras model and a `tf.Module`."""
    images, labels = digits()
    batches = batches_in(folder)
    for framework in ("burn", "candle"):
        known = peer(framework, begun(folder / f"{framework}-names"), batches, 260, "names")["live"]
        for kind in ("keras3", "module"):
            what, directory = f"{framework} as {kind}", begun(folder / f"{framework}-{kind}")
            peer(framework, directory, batches, 250, kind)
            live = peer(framework, directory, batches, 260, kind)["live"]  # goes on from objects
            check(f"{what}: resumed from objects, it computes the same", live == known)
            latest = tf.train.latest_checkpoint(str(directory))
            step = tf.Variable(0, dtype=tf.int64)
            if kind == "keras3":
                model, optimizer = keras_digits(), tf.keras.optimizers.Adam(1e-3, epsilon=1e-8)
                optimizer.build(model.trainable_variables)
                values = {f"{layer}/{name}": variable for layer in ("conv1", "conv2", "dense")
                          for name, variable in zip(("kernel", "bias"), model.get_layer(layer).weights)}
                moments = optimizer.variables[2:]
            else:
                model, optimizer = tf.Module(), v1.train.AdamOptimizer(1e-3, epsilon=1e-8)
                values = {}
                for layer, shape in (("conv1", (3, 3, 1, 8)), ("conv2", (3, 3, 8, 16)), ("dense", (64, 10))):
                    part = tf.Module()
                    part.kernel, part.bias = tf.Variable(tf.zeros(shape)), tf.Variable(tf.zeros(shape[-1:]))
                    setattr(model, layer, part)
                    values |= {f"{layer}/kernel": part.kernel, f"{layer}/bias": part.bias}
                with tf.GradientTape() as tape:
                    loss = tf.add_n([tf.reduce_sum(value) for value in values.values()])
                optimizer.apply_gradients(zip(tape.gradient(loss, list(values.values())), values.values()))
                moments = [optimizer.get_slot(value, slot) for value in values.values() for slot in ("m", "v")]
            checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, step=step)
            checkpoint.restore(latest).assert_consumed()
            check(f"{what}: assert_consumed, and the very weights",
                  all(values[name].numpy().tobytes().hex() == data for name, data in live.items()))
            # The moments are those of the run that was saved by names.
            reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(folder / f"{framework}-names")))
            saved = {reader.get_tensor(f"{name}/{slot}").tobytes() for name in values for slot in ("Adam", "Adam_1")}
            check(f"{what}: the very moments", saved == {moment.numpy().tobytes() for moment in moments})
            check(f"{what}: step", int(step) == 260)
            if kind == "keras3":
                check(f"{what}: iterations", int(optimizer.iterations) == 260)
                accuracy = (model(images[1500:]).numpy().argmax(1) == labels[1500:]).mean()
                check(f"{what}: it tells digits apart", accuracy > 0.8, accuracy)


def keras_digits():
    """The network of data/make_tf_digits.py, function `saver`, in Keras."""
    layers = tf.keras.layers
    x = pixels = tf.keras.Input((8, 8, 1), name="pixels")
    x = layers.MaxPool2D(name="pool1")(layers.Conv2D(8, 3, padding="same", activation="relu", name="conv1")(x))
    x = layers.MaxPool2D(name="pool2")(layers.Conv2D(16, 3, padding="same", activation="relu", name="conv2")(x))
    return tf.keras.Model(pixels, layers.Dense(10, name="dense")(layers.Flatten(name="flat")(x)))


def examples(folder):
    """The checkpoints of the examples: each variable is there for TensorFlow, and a Saver of their names restores."""
    for example in ("burn_digits", "candle_digits"):
        directory = folder / example
        subprocess.run([DEBUG / "examples" / example, "--dir", directory, "--epochs", "1"], check=True,
                       stdout=subprocess.DEVNULL, cwd=ROOT)
        latest = tf.train.latest_checkpoint(str(directory))
        reader = tf.train.load_checkpoint(latest)
        arrays = {name: np.asarray(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()}
        for name in ("conv1/kernel", "conv1/kernel/Adam", "dense/kernel/Adam_1", "beta1_power", "global_step"):
            check(f"{example}: has {name}", name in arrays, sorted(arrays))
        check(f"{example}: Saver().restore of every variable", equal(arrays, restored(latest, arrays)))
        specs = {bytes.fromhex(spec["name_hex"]).decode(): spec for spec in peer("dump", latest)}
        same = all(specs[name]["sha256"] == hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items())
        check(f"{example}: and what TensorFlow reads is what we read", len(specs) == len(arrays) and same)
        done = subprocess.run([sys.executable, "-c", IMPORT, latest, "v2"], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        values = {name: array.tobytes().hex() for name, array in arrays.items()}
        check(f"{example}: import_meta_graph restores all of it",
              {name.removesuffix(":0"): data for name, (_, _, data) in found["variables"].items()} == values)
        trained = {name.removesuffix(":0") for name in found["trainable"]}
        model = {name for name in arrays if name.rsplit("/", 1)[-1] in ("kernel", "bias", "gamma", "beta")}
        check(f"{example}: and knows what is trained", trained == model, sorted(trained ^ model))
