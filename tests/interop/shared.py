"""What all checks against TensorFlow share: the count of them, our side, and variables in all their forms."""
import hashlib
import json
import pathlib
import subprocess

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
v1.logging.set_verbosity(v1.logging.ERROR)

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEBUG = ROOT / "target" / "debug"
PEER = DEBUG / "tfckpt-interop-peer"
DIGITS = ROOT / "data" / "tf-digits"
passed, failed = [], []


def check(what, good, detail=""):
    if good:
        passed.append(what)
    else:
        failed.append(what)
        print(f"FAILED: {what} {detail}", flush=True)


def peer(*args):
    """What our side answers."""
    done = subprocess.run([PEER, *map(str, args)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"peer {args}: {done.stderr}")
    return json.loads(done.stdout)


FIXED = ["float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
         "uint64", "bool", "complex64", "complex128", "qint8", "quint8", "qint16", "quint16", "qint32", "float8_e5m2",
         "float8_e4m3fn", "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2fnuz", "int4", "uint4", "int2", "uint2",
         "float4_e2m1fn"]
# TensorFlow calls float16 `half` in its enum and `float16` in Python; our names are Python's.
BITS = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2, "float4_e2m1fn": 4}


def on_disk(array, dtype):
    """The bytes of an array in a data file: the small types keep only their own bits."""
    data = array.tobytes()
    if dtype in BITS:
        mask = (1 << BITS[dtype]) - 1
        data = bytes(byte & mask for byte in data)
    return data


def random_array(random, dtype, shape):
    count = int(np.prod(shape, dtype=np.int64))
    kind = tf.as_dtype(dtype).as_numpy_dtype
    if dtype == "bool":
        return random.integers(0, 2, count).astype(bool).reshape(shape)
    data = random.bytes(count * np.dtype(kind).itemsize)
    if dtype in BITS:
        mask = (1 << BITS[dtype]) - 1
        data = bytes(byte & mask for byte in data)
    return np.frombuffer(data, dtype=kind).reshape(shape).copy()


def random_strings(random, shape):
    count = int(np.prod(shape, dtype=np.int64))
    lengths = random.choice([0, 1, 5, 127, 128, 129, 300, 20000], count, p=[.2, .2, .2, .1, .1, .1, .09, .01])
    array = np.empty(count, dtype=object)
    for i, length in enumerate(lengths):
        array[i] = random.bytes(int(length))
    return array.reshape(shape)


def random_variables(random):
    """Name to (dtype, array), names in the order of their bytes."""
    parts = ["dense", "kernel", "block_1", "a.b", "-x", "layer_with_weights-0", "é中", "k" * 200, "_y", "Z", "0"]
    shapes = [(), (1,), (0,), (7,), (2, 0, 3), (3, 5), (130, 3), (1, 2, 1, 3, 1, 2, 1, 2), (1000,)]
    variables = {}
    for _ in range(int(random.integers(1, 40))):
        name = "/".join(random.choice(parts, int(random.integers(1, 5))))
        dtype = str(random.choice(FIXED + ["string"] * 3 + ["float32"] * 10))
        shape = shapes[int(random.integers(len(shapes)))]
        array = random_strings(random, shape) if dtype == "string" else random_array(random, dtype, shape)
        variables[name.encode()] = (dtype, array)
    return dict(sorted(variables.items()))


def random_ranges(random, dim, pieces):
    """A dimension cut into so many ranges."""
    cuts = sorted(random.choice(np.arange(1, dim), min(pieces, dim) - 1, replace=False)) if dim > 1 else []
    return list(zip([0, *cuts], [*cuts, dim]))


def shape_and_slice(shape, ranges):
    """The text that SaveV2 and RestoreV2 take for a slice; a whole dimension is `-` in one writer in two."""
    dims = [f"{start},{stop - start}" for start, stop in ranges]
    return " ".join(map(str, shape)) + " " + ":".join(dims)


def partitioned(random, name, dtype, array):
    """The stored parts of a variable: all of it, or now and then the pieces of a grid, in any order."""
    if array.ndim == 0 or array.size < 2 or random.random() < .7:
        return [(name, dtype, array, "")]
    axes = [random_ranges(random, dim, int(random.integers(1, 4))) for dim in array.shape]
    grid = [[]]
    for axis in axes:
        grid = [[*prefix, cut] for prefix in grid for cut in axis]
    if len(grid) == 1:
        return [(name, dtype, array, "")]
    random.shuffle(grid)
    return [(name, dtype, array[tuple(slice(*map(int, cut)) for cut in piece)].copy(), shape_and_slice(array.shape, piece))
            for piece in grid]


def whole_parts(variables):
    return [(name, dtype, array, "") for name, (dtype, array) in variables.items()]


def write_specs(parts, path):
    """Parts of variables as our side is told of them."""
    specs = []
    for name, dtype, array, part in parts:
        spec = {"name_hex": name.hex(), "dtype": dtype, "shape": list(array.shape)}
        if dtype == "string":
            spec["strings_hex"] = [element.hex() for element in array.reshape(-1)]
        else:
            spec["bytes_hex"] = on_disk(array, dtype).hex()
        if part:
            spec["shape_and_slice"] = part
        specs.append(spec)
    path.write_text(json.dumps(specs))


def write_ours(parts, prefix, folder, max_shard_bytes=2**62):
    write_specs(parts, folder / "spec.json")
    peer("write", folder / "spec.json", prefix, max_shard_bytes)


def write_theirs(parts, prefix):
    tensors = [tf.constant(array, dtype=tf.as_dtype(dtype)) for _, dtype, array, _ in parts]
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=[name for name, *_ in parts],
                      shape_and_slices=[part for *_, part in parts], tensors=tensors)


def read_theirs(prefix, variables):
    """What RestoreV2 gives, for variables by name, or for parts."""
    parts = [(name, dtype, "") for name, (dtype, _) in variables.items()] if isinstance(variables, dict) else variables
    return tf.raw_ops.RestoreV2(prefix=str(prefix), tensor_names=[name for name, *_ in parts],
                                shape_and_slices=[part for *_, part in parts],
                                dtypes=[tf.as_dtype(dtype) for _, dtype, _ in parts])


def same(dtype, expected, found):
    found = found.numpy()
    if dtype == "string":
        # A scalar comes as `bytes`, of which NumPy would cut off zeros at the end.
        elements = [found] if isinstance(found, bytes) else list(found.reshape(-1))
        return expected.shape == np.shape(found) and list(expected.reshape(-1)) == elements
    return expected.shape == found.shape and on_disk(expected, dtype) == on_disk(found, dtype)


def same_files(ours, theirs):
    for suffix in (".index", ".data-00000-of-00001"):
        a, b = (pathlib.Path(f"{prefix}{suffix}").read_bytes() for prefix in (ours, theirs))
        if a != b:
            return False
    return True


def described(dumped, variables):
    """Whether our description of a file is that of the variables."""
    if [bytes.fromhex(spec["name_hex"]) for spec in dumped] != list(variables):
        return False
    for spec, (dtype, array) in zip(dumped, variables.values()):
        if spec["dtype"] != dtype or spec["shape"] != list(array.shape):
            return False
        if dtype == "string":
            if spec["strings_hex"] != [element.hex() for element in array.reshape(-1)]:
                return False
        elif spec["sha256"] != hashlib.sha256(on_disk(array, dtype)).hexdigest():
            return False
    return True


# Of other dtypes TensorFlow reads single slices alone.
ASSEMBLED = {"float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool", "complex64", "complex128",
             "bfloat16", "qint8", "quint8", "qint32", "int4", "uint4"}


def read_by_tensorflow(prefix, variables, parts):
    """Whether TensorFlow reads all of it bit for bit: whole variables, where it can, and otherwise slice by slice."""
    in_slices = {name for name, _, _, part in parts if part}
    wanted = [(name, dtype, "", array) for name, (dtype, array) in variables.items()
              if name not in in_slices or dtype in ASSEMBLED]
    wanted += [(name, dtype, part, array) for name, dtype, array, part in parts if part]
    found = read_theirs(prefix, [(name, dtype, part) for name, dtype, part, _ in wanted])
    return all(same(dtype, array, tensor) for (_, dtype, _, array), tensor in zip(wanted, found))


def equal(expected, found):
    return all(expected[name].tobytes() == np.asarray(found[name]).tobytes() for name in expected)
