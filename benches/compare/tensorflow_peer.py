"""TensorFlow's side of the comparison: one JSON command for each line of standard input, one JSON answer for each.

Answers like our side (src/main.rs), and like it times the work itself: neither what prepares it nor the freeing of what
it returned.
"""

import json
import sys
import time

import numpy as np
import tensorflow as tf

U64 = np.uint64


def values(seed, elements):
    """Variable `seed`, by the rule of src/digest.rs."""
    index = np.arange(elements, dtype=np.uint32)
    mixed = index * np.uint32(2654435761) + np.uint32(seed * 40503 % 2**32)
    return (mixed >> np.uint32(9) | np.uint32(0x3F800000)).view(np.float32)


def digest(arrays):
    """Sums over the bits of float32 elements, as in src/digest.rs."""
    total = {"elements": 0, "sum": 0, "squares": 0}
    for array in arrays:
        bits = np.ascontiguousarray(array).reshape(-1).view(np.uint32).astype(U64)
        total["elements"] += bits.size
        total["sum"] += int(bits.sum(dtype=U64))
        total["squares"] += int((bits * bits).sum(dtype=U64))
    return {key: value % 2**64 for key, value in total.items()}


class Peer:
    """The data of the workloads that were begun."""

    def __init__(self):
        self.forget()

    def forget(self):
        self.names, self.tensors, self.wanted = [], [], None
        return {}

    def flat_make(self, count, elements):
        self.names = [f"variable_{i:06}" for i in range(count)]
        self.tensors = [tf.constant(values(i, elements)) for i in range(count)]
        self.want(self.names, [tf.float32] * count)
        return {"bytes": count * elements * 4}

    def restore_make(self, path):
        """All float32 variables of a checkpoint will be restored."""
        dtypes = tf.train.load_checkpoint(path).get_variable_to_dtype_map()
        names = sorted(name for name, dtype in dtypes.items() if dtype == tf.float32)
        self.want(names, [tf.float32] * len(names))
        return {"variables": len(names)}

    def want(self, names, dtypes):
        # As tensors already: turning lists of Python into them is no part of the work.
        self.wanted = tf.constant(names), tf.constant([""] * len(names)), dtypes

    def save(self, path):
        names, slices, _ = self.wanted
        prefix = tf.constant(path)
        start = time.perf_counter()
        tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=slices, tensors=self.tensors)
        return {"seconds": time.perf_counter() - start}

    def restore(self, path):
        names, slices, dtypes = self.wanted
        prefix = tf.constant(path)
        start = time.perf_counter()
        restored = tf.raw_ops.RestoreV2(prefix=prefix, tensor_names=names, shape_and_slices=slices, dtypes=dtypes)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "variables": len(restored)}

    def check(self, path):
        """That the checkpoint, which we may have written, holds exactly the flat variables."""
        names, slices, dtypes = self.wanted
        restored = tf.raw_ops.RestoreV2(
            prefix=path, tensor_names=names, shape_and_slices=slices, dtypes=dtypes
        )
        for name, ours, theirs in zip(self.names, self.tensors, restored):
            ours, theirs = ours.numpy(), theirs.numpy()
            if ours.shape != theirs.shape or ours.tobytes() != theirs.tobytes():
                raise ValueError(f"{name} has other bytes")
        return {}

    def digest(self, path, without=()):
        """Of all float32 variables of a checkpoint."""
        reader = tf.train.load_checkpoint(path)
        dtypes = reader.get_variable_to_dtype_map()
        names = [name for name, dtype in dtypes.items() if dtype == tf.float32 and name not in without]
        return {"digest": digest(map(reader.get_tensor, names)), "variables": len(names)}

    def one(self, path, name):
        start = time.perf_counter()
        tensor = tf.train.load_checkpoint(path).get_tensor(name)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "bytes": tensor.nbytes}

    def list(self, path):
        start = time.perf_counter()
        shapes = tf.train.load_checkpoint(path).get_variable_to_shape_map()
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "variables": len(shapes)}

    def version(self):
        return {"tensorflow": tf.__version__, "numpy": np.__version__}


def main():
    peer = Peer()
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(peer, command.pop("do"))(**command)
        except Exception as error:  # Told to compare.py, which stops.
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
