"""Layers whose variables are not the parameters of Burn or Candle one by one: each computes with new weights, saves them,
and TensorFlow computes the same with what it restores."""
import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras.src.layers.rnn import legacy_cells

from shared import ROOT, check, peer

layers = tf.keras.layers


def keras_layers(framework):
    """By the names of the cases in tests/fixtures/layers."""
    both = {
        "lstm": layers.LSTM(11, return_sequences=True),
        "gru": layers.GRU(11, return_sequences=True),
        "bi_lstm": layers.Bidirectional(layers.LSTM(11, return_sequences=True, name="lstm")),
        "old_lstm": tf_keras.layers.LSTM(11, return_sequences=True),
        "attention": layers.MultiHeadAttention(3, 4),
        "separable": layers.SeparableConv2D(7, 3, depth_multiplier=2),
        "depthwise_k3": layers.DepthwiseConv2D(3, depth_multiplier=3),
        "grouped": layers.Conv2D(6, 3, groups=2),
        "up2d": layers.Conv2DTranspose(7, 3, strides=2),
        "batch_norm": layers.BatchNormalization(epsilon=1e-3),
        "batch_norm_plain": layers.BatchNormalization(scale=False, center=False),
        "prelu_shared": layers.PReLU(shared_axes=[1, 2]),
    }
    burn = {
        "gru_before": layers.GRU(11, return_sequences=True, reset_after=False),
        "rnn": layers.SimpleRNN(11, return_sequences=True),
        "bi_gru": layers.Bidirectional(layers.GRU(11, return_sequences=True, name="gru")),
        "conv3d": layers.Conv3D(4, (2, 3, 4)),
    }
    return both | (burn if framework == "burn" else {})


def cells(framework):
    """The cells of TensorFlow 1, and the scopes of their variables."""
    both = {
        "basic_lstm": ("basic_lstm_cell", legacy_cells.BasicLSTMCell(11)),
        "half_lstm": ("lstm_cell", legacy_cells.LSTMCell(11, forget_bias=0.5)),
    }
    burn = {
        "old_gru_cell": ("gru_cell", legacy_cells.GRUCell(11)),
        "basic_rnn": ("basic_rnn_cell", legacy_cells.BasicRNNCell(11)),
    }
    return both | (burn if framework == "burn" else {})


def unrolled(cell, x):
    state = cell.get_initial_state(batch_size=x.shape[0], dtype=tf.float32)
    outputs = []
    for step in range(x.shape[1]):
        output, state = cell(x[:, step], state)
        outputs.append(output)
    return tf.stack(outputs, 1)


def block_lstm(kernel, bias, x):
    c = h = tf.zeros((x.shape[0], kernel.shape[1] // 4))
    none, outputs = tf.zeros((kernel.shape[1] // 4,)), []
    for step in range(x.shape[1]):
        found = tf.raw_ops.LSTMBlockCell(x=x[:, step], cs_prev=c, h_prev=h, w=kernel, wci=none, wcf=none, wco=none, b=bias,
                                         forget_bias=1.0, cell_clip=-1.0, use_peephole=False)
        c, h = found.cs, found.h
        outputs.append(h)
    return tf.stack(outputs, 1)


def layer_kinds(folder):
    inputs = tf.train.load_checkpoint(str(ROOT / "tests" / "fixtures" / "layers" / "cases"))
    for framework in ("burn", "candle"):
        directory = folder / f"layers-{framework}"
        directory.mkdir()
        names = peer("layers", framework, directory)

        def compare(name, load, call):
            reader = tf.train.load_checkpoint(str(directory / name))
            x, known = inputs.get_tensor(f"{name}/x"), inputs.get_tensor(f"{name}/y")
            y = reader.get_tensor("outputs/y")
            if name not in names:
                return check(f"{framework}: there is a {name}", False, names)
            load(reader)
            theirs = np.asarray(call(tf.constant(x)))
            largest = np.abs(theirs).max()
            off, changed = np.abs(y - theirs).max() / largest, np.abs(known - theirs).max() / largest
            # The weights of the one without any are statistics alone, which stayed.
            other = changed > 1e-3 or name == "batch_norm_plain"
            check(f"{framework}: TensorFlow computes {name} with what was saved", off < 1e-5 and other, (off, changed))

        def assign(variables):
            def load(reader):
                for key, variable in variables().items():
                    variable.assign(reader.get_tensor(key))  # refuses another shape
            return load

        for name, layer in keras_layers(framework).items():
            layer._name = name
            if not isinstance(layer, tf_keras.layers.Layer):
                layer.name = name
            call = (lambda x, layer=layer: layer(x, x)) if name == "attention" else layer
            call(tf.constant(inputs.get_tensor(f"{name}/x")))
            path = lambda variable: getattr(variable, "path", None) or variable.name.removesuffix(":0")
            variables = {path(v): v for v in layer.variables if path(v).startswith(name)}
            check(f"{framework}: {name} has variables", len(variables) > 0)
            compare(name, assign(lambda variables=variables: variables), call)
        for name, (scope, cell) in cells(framework).items():
            unrolled(cell, tf.constant(inputs.get_tensor(f"{name}/x")))
            variables = {f"{name}/{scope}/{v.name.removesuffix(':0').split('/', 1)[1]}": v for v in cell.variables}
            compare(name, assign(lambda variables=variables: variables), lambda x, cell=cell: unrolled(cell, x))
        block = {}
        compare("block_lstm", lambda reader: block.update({part: reader.get_tensor(f"block_lstm/lstm_cell/{part}")
                                                           for part in ("kernel", "bias")}),
                lambda x: block_lstm(block["kernel"], block["bias"], x))
        head = {}
        compare("head", lambda reader: head.update({part: reader.get_tensor(f"head/output_{part}") for part in ("weights", "bias")}),
                lambda x: tf.matmul(x, head["weights"], transpose_b=True) + head["bias"])
