"""Networks of the sizes that people use, as graphs of TensorFlow 1: each is saved with its `.meta`, and with what it computes.

A network is a function that gives its inputs, by name, and its output. Variables are random and of a size that keeps activations
where they are.
"""

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
random = np.random.default_rng(7)


def normal(name, shape, spread):
    return v1.get_variable(name, initializer=random.normal(0, spread, shape).astype(np.float32))


def around_one(name, shape, trainable=True):
    values = random.uniform(0.8, 1.2, shape).astype(np.float32)
    return v1.get_variable(name, initializer=values, trainable=trainable)


def dense(x, units, name="dense"):
    with v1.variable_scope(name):
        kernel = normal("kernel", [x.shape[-1], units], 1 / np.sqrt(int(x.shape[-1])))
        return tf.nn.bias_add(tf.matmul(x, kernel), normal("bias", [units], 0.1))


def layer_norm(x):
    """`LayerNorm` as Google's BERT had it from `tf.contrib.layers`."""
    with v1.variable_scope("LayerNorm"):
        beta, gamma = normal("beta", [x.shape[-1]], 0.1), around_one("gamma", [x.shape[-1]])
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-12)


def gelu(x):
    return 0.5 * x * (1.0 + tf.math.erf(x / np.float32(np.sqrt(2.0))))


def bert(words=128, width=768, layers=12, heads=12):
    """BERT-base, as `modeling.py` of google-research/bert builds it, for one text."""
    ids = v1.placeholder(tf.int32, [1, words], "input_ids")
    types = v1.placeholder(tf.int32, [1, words], "token_type_ids")
    with v1.variable_scope("bert"):
        with v1.variable_scope("embeddings"):
            x = tf.gather(normal("word_embeddings", [30522, width], 0.5), ids)
            x += tf.gather(normal("token_type_embeddings", [2, width], 0.5), types)
            x = layer_norm(x + normal("position_embeddings", [512, width], 0.5)[:words])
        x = tf.reshape(x, [words, width])
        for number in range(layers):
            with v1.variable_scope(f"encoder/layer_{number}"):
                x = bert_layer(x, words, width, heads)
    output = tf.reshape(x, [1, words, width], "sequence_output")
    feeds = {ids: random.integers(0, 30522, [1, words]), types: random.integers(0, 2, [1, words])}
    return {tensor: values.astype(np.int32) for tensor, values in feeds.items()}, output


def bert_layer(x, words, width, heads):
    with v1.variable_scope("attention"):
        with v1.variable_scope("self"):
            split = lambda x: tf.transpose(tf.reshape(x, [1, words, heads, width // heads]), [0, 2, 1, 3])
            query, key, value = (split(dense(x, width, name)) for name in ("query", "key", "value"))
            scores = tf.matmul(query, key, transpose_b=True) * (1.0 / np.sqrt(width // heads))
            context = tf.transpose(tf.matmul(tf.nn.softmax(scores), value), [0, 2, 1, 3])
        with v1.variable_scope("output"):
            attended = layer_norm(dense(tf.reshape(context, [words, width]), width) + x)
    with v1.variable_scope("intermediate"):
        wide = gelu(dense(attended, 4 * width))
    with v1.variable_scope("output"):
        return layer_norm(dense(wide, width) + attended)


def batch_norm(x, epsilon):
    with v1.variable_scope("BatchNorm"):
        size = [x.shape[-1]]
        beta, gamma = normal("beta", size, 0.1), around_one("gamma", size)
        mean, variance = normal("moving_mean", size, 0.1), around_one("moving_variance", size, False)
    return v1.nn.fused_batch_norm(x, gamma, beta, mean, variance, epsilon, is_training=False)[0]


def convolution(x, units, size, stride=1, padding="SAME", epsilon=1e-5):
    filters = normal("weights", [size, size, x.shape[-1], units], np.sqrt(2 / (size * size * int(x.shape[-1]))))
    return batch_norm(tf.nn.conv2d(x, filters, stride, padding), epsilon)


def mobilenet(size=224):
    """MobileNet v1 of slim, for one image."""
    images = v1.placeholder(tf.float32, [1, size, size, 3], "images")
    with v1.variable_scope("MobilenetV1"):
        with v1.variable_scope("Conv2d_0"):
            x = tf.nn.relu6(convolution(images, 32, 3, 2, epsilon=1e-3))
        widths = [(1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *[(1, 512)] * 5, (2, 1024), (1, 1024)]
        for number, (stride, units) in enumerate(widths, 1):
            with v1.variable_scope(f"Conv2d_{number}_depthwise"):
                filters = normal("depthwise_weights", [3, 3, x.shape[-1], 1], np.sqrt(2 / 9))
                x = tf.nn.depthwise_conv2d(x, filters, [1, stride, stride, 1], "SAME")
                x = tf.nn.relu6(batch_norm(x, 1e-3))
            with v1.variable_scope(f"Conv2d_{number}_pointwise"):
                x = tf.nn.relu6(convolution(x, units, 1, epsilon=1e-3))
        with v1.variable_scope("Logits/Conv2d_1c_1x1"):
            logits = classes(tf.reduce_mean(x, [1, 2], keepdims=True), 1001)
    return {images: random.uniform(-1, 1, images.shape).astype(np.float32)}, tf.identity(logits, "logits")


def classes(x, units):
    filters = normal("weights", [1, 1, x.shape[-1], units], 1 / np.sqrt(int(x.shape[-1])))
    return tf.squeeze(tf.nn.bias_add(tf.nn.conv2d(x, filters, 1, "SAME"), normal("biases", [units], 0.1)), [1, 2])


def padded(x, units, size, stride):
    """`conv2d_same` of slim's resnet_utils.py: padded alike at both ends."""
    pads = [(size - 1) // 2, size - 1 - (size - 1) // 2]
    return tf.nn.relu(convolution(tf.pad(x, [[0, 0], pads, pads, [0, 0]]), units, size, stride, "VALID"))


def resnet(size=224):
    """ResNet v1 of 50 layers of slim, for one image."""
    images = v1.placeholder(tf.float32, [1, size, size, 3], "images")
    with v1.variable_scope("resnet_v1_50"):
        with v1.variable_scope("conv1"):
            x = padded(images, 64, 7, 2)
        x = tf.nn.max_pool2d(x, 3, 2, "SAME")
        for block, (base, units, last) in enumerate([(64, 3, 2), (128, 4, 2), (256, 6, 2), (512, 3, 1)], 1):
            for unit in range(1, units + 1):
                with v1.variable_scope(f"block{block}/unit_{unit}/bottleneck_v1"):
                    x = bottleneck(x, base, last if unit == units else 1)
        with v1.variable_scope("logits"):
            logits = classes(tf.reduce_mean(x, [1, 2], keepdims=True), 1000)
    return {images: random.uniform(-1, 1, images.shape).astype(np.float32)}, tf.identity(logits, "logits")


def bottleneck(x, base, stride):
    with v1.variable_scope("shortcut"):
        widens = x.shape[-1] != 4 * base
        short = convolution(x, 4 * base, 1, stride) if widens else tf.nn.max_pool2d(x, 1, stride, "VALID")
    with v1.variable_scope("conv1"):
        y = tf.nn.relu(convolution(x, base, 1))
    with v1.variable_scope("conv2"):
        y = padded(y, base, 3, stride)
    with v1.variable_scope("conv3"):
        return tf.nn.relu(short + convolution(y, 4 * base, 1))


def depthwise(channels, size):
    """One convolution of each channel by itself, 3 x 3."""
    images = v1.placeholder(tf.float32, [1, size, size, channels], "images")
    output = tf.nn.depthwise_conv2d(images, normal("filter", [3, 3, channels, 1], 0.5), [1, 1, 1, 1], "SAME", name="output")
    return {images: random.uniform(-1, 1, images.shape).astype(np.float32)}, output


NETWORKS = {
    "bert": bert,
    "mobilenet": mobilenet,
    "resnet": resnet,
    **{f"depthwise-{channels}-{size}": lambda channels=channels, size=size: depthwise(channels, size)
       for channels, size in [(64, 56), (256, 28), (512, 14)]},
}


class Network:
    """A graph in a session of its own, and its files in a directory: `model.meta`, `model`, and the checkpoint `case`."""

    def __init__(self, name, directory):
        with tf.Graph().as_default():
            self.feeds, self.output = NETWORKS[name]()
            self.session = v1.Session()
            self.session.run(v1.global_variables_initializer())
            v1.train.Saver().save(self.session, str(directory / "model"), write_state=False)
        keep(directory, {tensor.op.name: values for tensor, values in self.feeds.items()}, self.run())

    def run(self):
        return self.session.run(self.output, self.feeds)


class Digits:
    """The digits network of the repository."""

    def __init__(self, batch, prefix, directory):
        with tf.Graph().as_default():
            saver = v1.train.import_meta_graph(f"{prefix}.meta")
            self.session = v1.Session()
            saver.restore(self.session, str(prefix))
        self.feeds = {"image:0": random.uniform(0, 1, [batch, 8, 8, 1]).astype(np.float32)}
        keep(directory, {"image": self.feeds["image:0"]}, self.run())

    def run(self):
        return self.session.run("dense/logits:0", self.feeds)


def keep(directory, feeds, output):
    names = [*(f"feed/{name}" for name in feeds), "output"]
    tensors = [*feeds.values(), output]
    tf.raw_ops.SaveV2(prefix=str(directory / "case"), tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors)
