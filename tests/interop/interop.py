"""This project against real TensorFlow, both ways. Run by run.sh.

Every check compares with what TensorFlow itself writes or reads, never with our own round trip.
The random part prints its seed; `run.sh --seed N` repeats it.
"""
import argparse
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import tensorflow as tf

warnings.filterwarnings("ignore")
v1 = tf.compat.v1
v1.logging.set_verbosity(v1.logging.ERROR)

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEBUG = ROOT / "target" / "debug"
PEER = DEBUG / "tfckpt-interop-peer"
passed, failed = 0, []


def check(what, good, detail=""):
    global passed
    if good:
        passed += 1
    else:
        failed.append(what)
        print(f"FAILED: {what} {detail}", flush=True)


def peer(*args):
    """What our side answers."""
    done = subprocess.run([PEER, *map(str, args)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"peer {args}: {done.stderr}")
    return json.loads(done.stdout)


# --- variables ------------------------------------------------------------------------------------------------------

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


def write_ours(variables, prefix, folder):
    specs = []
    for name, (dtype, array) in variables.items():
        spec = {"name_hex": name.hex(), "dtype": dtype, "shape": list(array.shape)}
        if dtype == "string":
            spec["strings_hex"] = [element.hex() for element in array.reshape(-1)]
        else:
            spec["bytes_hex"] = on_disk(array, dtype).hex()
        specs.append(spec)
    path = folder / "spec.json"
    path.write_text(json.dumps(specs))
    peer("write", path, prefix)


def write_theirs(variables, prefix):
    tensors = [tf.constant(array, dtype=tf.as_dtype(dtype)) for dtype, array in variables.values()]
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=list(variables), shape_and_slices=[""] * len(variables),
                      tensors=tensors)


def read_theirs(prefix, variables):
    dtypes = [tf.as_dtype(dtype) for dtype, _ in variables.values()]
    return tf.raw_ops.RestoreV2(prefix=str(prefix), tensor_names=list(variables),
                                shape_and_slices=[""] * len(variables), dtypes=dtypes)


def same(dtype, expected, found):
    found = found.numpy()
    if dtype == "string":
        return expected.shape == np.shape(found) and list(expected.reshape(-1)) == list(np.reshape(found, -1))
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


# --- the checks -----------------------------------------------------------------------------------------------------

def bundles(folder, seed, count):
    """The same variables through TensorFlow and through us: each reads the other, and the files are the same."""
    for i in range(count):
        random = np.random.default_rng([seed, i])
        variables = random_variables(random)
        if i == 0:  # each dtype once, whatever the dice say
            variables = {f"dtype/{dtype}".encode(): (dtype, random_array(random, dtype, (2, 3))) for dtype in FIXED}
            variables[b"dtype/string"] = ("string", random_strings(random, (2, 3)))
            variables = dict(sorted(variables.items()))
        if i == 1:  # an index of several blocks
            variables = {b"v/%06d/" % n + b"x" * 60: ("float32", random_array(random, "float32", (1,)))
                         for n in range(4000)}
        ours, theirs = folder / f"ours-{i}", folder / f"theirs-{i}"
        write_ours(variables, ours, folder)
        write_theirs(variables, theirs)
        read = read_theirs(ours, variables)
        good = all(same(dtype, array, found) for (dtype, array), found in zip(variables.values(), read))
        check(f"seed {seed} bundle {i}: TensorFlow reads ours bit for bit", good)
        check(f"seed {seed} bundle {i}: we read TensorFlow's bit for bit", described(peer("dump", theirs), variables))
        check(f"seed {seed} bundle {i}: the files are byte-identical", same_files(ours, theirs))


def saver_graph(variables):
    """A graph that has these variables, and a Saver for them."""
    graph = tf.Graph()
    with graph.as_default():
        made = {name: v1.get_variable(name, initializer=np.zeros_like(array), use_resource=True)
                for name, array in variables.items()}
        return graph, made, v1.train.Saver(made)


def restored(prefix, variables):
    """What `tf.compat.v1.train.Saver().restore` puts into a graph of these names."""
    graph, made, saver = saver_graph(variables)
    with v1.Session(graph=graph) as session:
        saver.restore(session, str(prefix))
        return session.run(made)


def equal(expected, found):
    return all(expected[name].tobytes() == np.asarray(found[name]).tobytes() for name in expected)


def savers(folder):
    """`Saver().restore` of what we wrote, and the same history of saves through both savers."""
    random = np.random.default_rng(3)
    kinds = ["float32", "float64", "float16", "int32", "int64", "uint8", "bool"]
    variables = {f"scope/{kind}": (kind, random_array(random, kind, (3, 4))) for kind in kinds}
    prefix = folder / "restore-me"
    write_ours({name.encode(): value for name, value in variables.items()}, prefix, folder)
    arrays = {name: array for name, (_, array) in variables.items()}
    check("Saver().restore into a graph of our names", equal(arrays, restored(prefix, arrays)))

    for keep in (5, 2, 1, 0):
        history(folder, keep)


def history(folder, keep):
    ours, theirs = folder / f"history-{keep}-ours", folder / f"history-{keep}-theirs"
    theirs.mkdir()
    process = subprocess.Popen([PEER, "saver", str(ours), str(keep)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(command):
        process.stdin.write(command + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        return json.loads(answer) if answer else "no answer"

    graph = tf.Graph()
    with graph.as_default():
        variable = v1.get_variable("v", initializer=np.float32(0), use_resource=True)
        step = v1.train.get_or_create_global_step()
        saver = v1.train.Saver(max_to_keep=keep, save_relative_paths=True)
    with v1.Session(graph=graph) as session:
        for n in (10, 20, 30, 300, 301, 302, 1000):
            variable.load(n, session)
            session.run(step.initializer)
            step.load(n, session)
            saver.save(session, str(theirs / "model.ckpt"), global_step=n, write_meta_graph=False)
            answer = ask(f"save {n}")
            what = f"max_to_keep={keep}, step {n}"
            check(f"{what}: latest_checkpoint agrees", answer == tf.train.latest_checkpoint(str(ours)), answer)
            check(f"{what}: the state files are byte-identical",
                  (ours / "checkpoint").read_bytes() == (theirs / "checkpoint").read_bytes())
            listing = [sorted(path.name for path in folder.iterdir()) for folder in (ours, theirs)]
            check(f"{what}: the same files are there", listing[0] == listing[1], listing)
            check(f"{what}: the files are byte-identical",
                  all((ours / name).read_bytes() == (theirs / name).read_bytes() for name in listing[0]))
    if keep == 2:
        # A restart keeps the list; deleting by hand is seen by both.
        ask("restart 2")
        ask("save 2000")
        check("retention survives a restart", sorted(path.name for path in ours.glob("*.index")) ==
              ["model.ckpt-1000.index", "model.ckpt-2000.index"])
        (ours / "model.ckpt-2000.index").unlink()
        check("latest_checkpoint agrees after a deletion", ask("latest now") is None and
              tf.train.latest_checkpoint(str(ours)) is None)
    process.stdin.close()
    process.wait()


def tensorflows_files():
    """Everything that TensorFlow's own reader finds in the stored files, we find."""
    folders = [path.parent for path in sorted((ROOT / "data" / "tf-digits").glob("*/checkpoint"))]
    prefixes = [tf.train.latest_checkpoint(str(folder)) for folder in folders]
    for case in ("all_dtypes", "shapes", "strings", "many_vars_2600", "simple_float", "crafted_snappy"):
        prefixes.append(str(ROOT / "tests" / "fixtures" / case / "a"))
    for prefix in prefixes:
        reader = tf.train.load_checkpoint(prefix)
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        specs = {bytes.fromhex(spec["name_hex"]).decode(): spec for spec in peer("dump", prefix)}
        good = set(specs) == set(shapes)
        variables = {name.encode(): (dtypes[name].name, None) for name in shapes}
        for (name, (dtype, _)), found in zip(variables.items(), read_theirs(prefix, variables)):
            spec, array = specs[name.decode()], found.numpy()
            good = good and spec["dtype"] == dtype and spec["shape"] == list(found.shape)
            if dtype == "string":
                elements = [element.hex() for element in np.reshape(array, -1)]
                good = good and spec["strings_hex"] == elements
            else:
                good = good and spec["sha256"] == hashlib.sha256(on_disk(array, dtype)).hexdigest()
        check(f"we find in {pathlib.Path(prefix).parent.name} what TensorFlow finds", good)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--seed", type=int, default=int.from_bytes(__import__("os").urandom(3), "big"))
    args.add_argument("--bundles", type=int, default=60)
    args = args.parse_args()
    print(f"TensorFlow {tf.__version__}, seed {args.seed}", flush=True)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tfckpt-interop-"))
    try:
        for part in (lambda: bundles(folder, args.seed, args.bundles), lambda: savers(folder), tensorflows_files):
            try:
                part()
            except Exception as error:  # a part that breaks off is a failure, and the others still run
                check(f"{part}", False, repr(error))
    finally:
        shutil.rmtree(folder)
    print(f"{passed} passed, {len(failed)} failed")
    sys.exit(bool(failed))


main()
