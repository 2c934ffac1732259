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

from objects import objects

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


# --- bundles --------------------------------------------------------------------------------------------------------

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
        parts = [part for name, (dtype, array) in variables.items() for part in partitioned(random, name, dtype, array)]
        ours, theirs, sharded = folder / f"ours-{i}", folder / f"theirs-{i}", folder / f"sharded-{i}"
        write_ours(parts, ours, folder)
        write_theirs(parts, theirs)
        check(f"seed {seed} bundle {i}: TensorFlow reads ours bit for bit", read_by_tensorflow(ours, variables, parts))
        check(f"seed {seed} bundle {i}: we read TensorFlow's bit for bit", described(peer("dump", theirs), variables))
        check(f"seed {seed} bundle {i}: the files are byte-identical", same_files(ours, theirs))
        if i % 5 == 0:
            write_ours(parts, sharded, folder, max_shard_bytes=int(random.integers(1, 20000)))
            check(f"seed {seed} bundle {i}: TensorFlow reads ours in several data files",
                  read_by_tensorflow(sharded, variables, parts))
            parts_of_variables(f"seed {seed} bundle {i}", folder, random, theirs, variables)
        for path in folder.glob(f"*-{i}.*"):
            path.unlink()


def parts_of_variables(what, folder, random, prefix, variables):
    """Any region of a variable, however it is stored, as RestoreV2 reads it."""
    wanted = []
    for name, (dtype, array) in variables.items():
        if dtype in ASSEMBLED and array.ndim > 0 and array.size > 0:
            starts = [int(random.integers(0, dim)) for dim in array.shape]
            ranges = [(start, int(random.integers(start + 1, dim + 1))) for start, dim in zip(starts, array.shape)]
            wanted.append((name, dtype, shape_and_slice(array.shape, ranges)))
    if not wanted:
        return
    path = folder / "parts.json"
    path.write_text(json.dumps([{"name_hex": name.hex(), "shape_and_slice": part} for name, _, part in wanted]))
    theirs = [hashlib.sha256(on_disk(tensor.numpy(), dtype)).hexdigest()
              for (_, dtype, _), tensor in zip(wanted, read_theirs(prefix, wanted))]
    check(f"{what}: parts of variables are read as RestoreV2 reads them", peer("parts", prefix, path) == theirs)


def merges(folder, seed):
    """Shards that TensorFlow wrote, merged by TensorFlow and by us."""
    for i in range(6):
        random = np.random.default_rng([seed, 1000 + i])
        variables = random_variables(random)
        parts = [part for name, (dtype, array) in variables.items() for part in partitioned(random, name, dtype, array)]
        owner = random.integers(0, 3, len(parts))
        shards = [[part for part, shard in zip(parts, owner) if shard == n] for n in range(3)]
        shards = [shard for shard in shards if shard]
        directory = folder / f"merge-{i}"
        for side in ("ours", "theirs"):
            (directory / side).mkdir(parents=True)
            for n, shard in enumerate(shards):
                write_theirs(shard, directory / side / "m_temp" / f"part-{n:05}-of-{len(shards):05}")
        prefixes = {side: [str(directory / side / "m_temp" / f"part-{n:05}-of-{len(shards):05}")
                           for n in range(len(shards))] for side in ("ours", "theirs")}
        tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=prefixes["theirs"],
                                      destination_prefix=str(directory / "theirs" / "m"))
        peer("merge", directory / "ours" / "m", *prefixes["ours"])
        files = {side: {path.name: path.read_bytes() for path in (directory / side).iterdir()}
                 for side in ("ours", "theirs")}
        check(f"seed {seed} merge {i}: our merge gives the files of MergeV2Checkpoints", files["ours"] == files["theirs"],
              [sorted(names) for names in files.values()])


V1 = ["float32", "float64", "int32", "uint8", "int16", "int8", "uint16", "int64", "bool", "complex64", "complex128",
      "float16", "string"]


def old_format(folder, seed):
    """Files of the V1 format, single, partitioned and sharded, as TensorFlow still writes them."""
    for i in range(20):
        random = np.random.default_rng([seed, 2000 + i])
        variables = {name: (dtype, array) for name, (dtype, array) in random_variables(random).items() if dtype in V1}
        variables[b"always"] = ("float32", random_array(random, "float32", (3, 4)))
        parts = [part for name, (dtype, array) in sorted(variables.items())
                 for part in partitioned(random, name, dtype, array)]
        shards = [parts[0::2], parts[1::2]] if i % 3 == 0 and len(parts) > 1 else [parts]
        pattern = folder / f"v1-{i}"
        for n, shard in enumerate(shards):
            name = f"{pattern}-{n:05}-of-{len(shards):05}" if len(shards) > 1 else pattern
            full = [part or " ".join(map(str, (*array.shape, ":".join("-" * array.ndim)))) for _, _, array, part in shard]
            full = [text if array.ndim else "" for text, (_, _, array, _) in zip(full, shard)]
            tf.raw_ops.SaveSlices(filename=str(name), tensor_names=[name for name, *_ in shard], shapes_and_slices=full,
                                  data=[tf.constant(array, dtype=tf.as_dtype(dtype)) for _, dtype, array, _ in shard])
        path = f"{pattern}-?????-of-{len(shards):05}" if len(shards) > 1 else pattern
        check(f"seed {seed} V1 file {i}: we read it bit for bit",
              described(peer("dump", path), dict(sorted(variables.items()))))


# What a broken file may be to us, by TensorFlow's class for it.
CLASSES = {"DataLossError": {"Corrupt", "Unsupported"}, "OutOfRangeError": {"Corrupt"}, "NotFoundError": {"NotFound", "Corrupt"},
           "InvalidArgumentError": {"Corrupt", "Unsupported"}, "InternalError": {"Corrupt"}}
# Where we differ on purpose: TensorFlow finds fewer variables in these, or none, and says nothing of the damage; and
# one whose dtype was changed to another of the same size it takes by what the caller asks for.
STRICTER = {"entry_dtype_int32"}


def broken_files():
    """The damaged fixtures through RestoreV2 and through us: whatever fails there fails here, with an error of a class
    that fits."""
    fixtures = ROOT / "tests" / "fixtures" / "corrupt"
    cases = json.loads((fixtures / "expected.json").read_text())["cases"]
    kinds = {"s": tf.string, "x": tf.float32, "y": tf.int64}
    for case in sorted(cases):
        prefix = fixtures / case / "m"
        ours = dict(zip(kinds, peer("outcomes", prefix, *kinds)))
        for name, dtype in kinds.items():
            try:
                tf.raw_ops.RestoreV2(prefix=str(prefix), tensor_names=[name], shape_and_slices=[""], dtypes=[dtype])
                theirs = "OK"
            except tf.errors.OpError as error:
                theirs = type(error).__name__
            fits = ours[name] == "OK" if theirs == "OK" else ours[name] in CLASSES[theirs]
            # An index that is broken in one place is broken for every variable.
            stricter = theirs == "OK" and ours[name] == "Corrupt" or case in STRICTER
            check(f"broken file {case}: {name} is {theirs} to TensorFlow, {ours[name]} to us", fits or stricter)


# --- savers ---------------------------------------------------------------------------------------------------------



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
    write_ours(whole_parts({name.encode(): value for name, value in variables.items()}), prefix, folder)
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


IMPORT = """
import json, sys
import numpy as np, tensorflow as tf
v1, (prefix, mode) = tf.compat.v1, sys.argv[1:]
if mode == "v1":
    v1.disable_v2_behavior()
graph = tf.Graph()
with graph.as_default(), v1.Session(graph=graph) as session:
    saver = v1.train.import_meta_graph(prefix + ".meta")
    saver.restore(session, prefix)
    variables = {v.name: [v.dtype.base_dtype.name, v.shape.as_list(), np.asarray(session.run(v)).tobytes().hex()]
                 for v in v1.global_variables()}
    found = {"variables": variables, "trainable": [v.name for v in v1.trainable_variables()],
             "step": v1.train.get_global_step().name, "collection": [v.name for v in v1.get_collection("global_step")],
             "keep": [saver.as_saver_def().max_to_keep, saver.as_saver_def().keep_checkpoint_every_n_hours]}
    found["again"] = saver.save(session, prefix + "-again", write_meta_graph=False)
    session.run("init")
    found["zero"] = all(not np.any(session.run(v)) for v in v1.global_variables() if v.dtype.base_dtype != tf.string)
print(json.dumps(found))
"""

# Of these TensorFlow has no variables; in a graph they are left out.
NO_VARIABLES = {"resource": {"qint16", "quint16", "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2fnuz"}}
NO_VARIABLES["ref"] = NO_VARIABLES["resource"] - {"quint16"} | {
    "float8_e5m2", "float8_e4m3fn", "float4_e2m1fn", "int4", "uint4", "int2", "uint2"}


def graphs(folder, seed):
    """`import_meta_graph` in a fresh process, and `restore`: no code of any network."""
    random = np.random.default_rng([seed, 3000])
    variables = {f"dtype/{dtype}": (dtype, random_array(random, dtype, (2, 3))) for dtype in FIXED}
    variables["dtype/string"] = ("string", random_strings(random, (2, 3)))
    variables |= {"dense/kernel": ("float32", random_array(random, "float32", (4, 3))),
                  "slot/Adam": ("float32", random_array(random, "float32", (4, 3))), "scalar": ("float64", np.float64(7))}
    specs = folder / "graph.json"
    whole = random_array(random, "float32", (5, 2))
    parts = whole_parts({name.encode(): (dtype, np.asarray(array)) for name, (dtype, array) in variables.items()})
    parts += [(b"embedding", "float32", whole[:3].copy(), "5 2 0,3:0,2"), (b"embedding", "float32", whole[3:].copy(), "5 2 3,2:0,2")]
    for kind in ("resource", "ref"):
        directory = folder / f"graph-{kind}"
        write_specs(parts, specs)
        peer("graph", specs, directory, kind)
        prefix = directory / "model.ckpt-42"
        expected = {f"{name}:0": [dtype, list(np.shape(array)), np.asarray(array).tobytes().hex()]
                    for name, (dtype, array) in variables.items() if dtype not in NO_VARIABLES[kind] and dtype != "string"}
        expected["embedding/part_0:0"] = ["float32", [3, 2], whole[:3].tobytes().hex()]
        expected["embedding/part_1:0"] = ["float32", [2, 2], whole[3:].tobytes().hex()]
        expected["global_step:0"] = ["int64", [], np.int64(42).tobytes().hex()]
        floats = {"float16", "bfloat16", "float32", "float64", "complex64", "complex128"}
        trainable = {name for name, (dtype, *_) in expected.items() if dtype in floats and not name.startswith("slot")}
        for mode in ("v1", "v2"):
            what = f"import_meta_graph, {kind} variables, {mode}"
            done = subprocess.run([sys.executable, "-c", IMPORT, prefix, mode], capture_output=True, text=True)
            if done.returncode != 0:
                check(what, False, done.stderr[-3000:])
                continue
            found = json.loads(done.stdout)
            strings = found["variables"].pop("dtype/string:0")
            check(f"{what}: names, shapes, dtypes and values", found["variables"] == expected, sorted(found["variables"]))
            check(f"{what}: strings", strings[:2] == ["string", [2, 3]])
            check(f"{what}: trainable variables", set(found["trainable"]) == trainable)
            check(f"{what}: global_step", found["step"] == "global_step:0" and found["collection"] == ["global_step:0"])
            check(f"{what}: SaverDef", found["keep"] == [3, 10000.0])
            check(f"{what}: it saves again, and initializes", found["zero"] and pathlib.Path(found["again"] + ".index").exists())


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


# --- the frameworks -------------------------------------------------------------------------------------------------

DIGITS = ROOT / "data" / "tf-digits"


def digits():
    """Images [n, 8, 8, 1] in 0..=1 and labels [n], of which the first 1500 train."""
    rows = np.loadtxt(ROOT / "data" / "digits.csv.gz", delimiter=",", dtype=np.float32)
    return (rows[:, :64] / np.float32(16)).reshape(-1, 8, 8, 1), rows[:, 64].astype(np.int32)


def trained_on(directory, images, labels, until):
    """What TensorFlow computes when it takes up the run in a directory, with the graph of data/make_tf_digits.py: the
    step it begins at, the loss of each step until the last one, and the logits of the test images after that."""
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
            return start, losses, session.run(logits, {x: images[1500:]})


def frameworks(folder):
    """A run that passes from TensorFlow to Burn or Candle and back, in one directory: it computes what TensorFlow alone
    computed, from weights, moments and counters that each took over from the other."""
    images, labels = digits()
    expected = json.loads((DIGITS / "expected.json").read_text())["saver"]
    batches = folder / "batches"
    write_theirs(whole_parts({b"images": ("float32", images[:1500]), b"labels": ("int32", labels[:1500])}), batches)
    for framework in ("burn", "candle"):
        directory = folder / framework
        directory.mkdir()
        for path in (DIGITS / "saver").glob("model.ckpt-240.*"):
            shutil.copy(path, directory)
        (directory / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-240"\n')
        live = peer(framework, directory, batches, 300, "names")
        latest = tf.train.latest_checkpoint(str(directory))
        check(f"{framework}: latest_checkpoint is the one just saved", latest == str(directory / "model.ckpt-300"), latest)
        reader = tf.train.load_checkpoint(latest)
        for name, values in live.items():
            check(f"{framework}: TensorFlow reads {name} bit for bit", reader.get_tensor(name).tobytes().hex() == values)
        start, losses, logits = trained_on(directory, images, labels, 360)
        check(f"{framework}: TensorFlow restores weights, slots, counters and global_step", start == 300, start)
        off = max(abs(loss / known - 1) for loss, known in zip(losses, expected["losses"][start:]))
        check(f"{framework}: TensorFlow trains on with the same losses", len(losses) == 60 and off < 1e-4, off)
        off = np.abs(logits[:16] - np.array(expected["logits"])).max()
        accuracy = (logits.argmax(1) == labels[1500:]).mean()
        check(f"{framework}: and ends with the same network", off < 1e-3 and accuracy == expected["accuracy"], off)


def python_objects(folder):
    """Runs of Burn and Candle, saved as the objects of a Python program: a Keras model and a `tf.Module`."""
    images, labels = digits()
    batches = folder / "batches"
    for framework in ("burn", "candle"):
        def begun(name):
            directory = folder / f"{framework}-{name}"
            directory.mkdir()
            for path in (DIGITS / "saver").glob("model.ckpt-240.*"):
                shutil.copy(path, directory)
            (directory / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-240"\n')
            return directory

        known = peer(framework, begun("names"), batches, 260, "names")
        for kind in ("keras3", "module"):
            what, directory = f"{framework} as {kind}", begun(kind)
            peer(framework, directory, batches, 250, kind)
            live = peer(framework, directory, batches, 260, kind)  # goes on from objects
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


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--seed", type=int, default=int.from_bytes(__import__("os").urandom(3), "big"))
    args.add_argument("--bundles", type=int, default=500)
    args = args.parse_args()
    print(f"TensorFlow {tf.__version__}, seed {args.seed}", flush=True)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tfckpt-interop-"))
    try:
        parts = {"bundles": lambda: bundles(folder, args.seed, args.bundles), "merges": lambda: merges(folder, args.seed),
                 "V1 files": lambda: old_format(folder, args.seed), "broken files": broken_files,
                 "savers": lambda: savers(folder), "graphs": lambda: graphs(folder, args.seed),
                 "objects": lambda: objects(check, peer, folder),
                 "TensorFlow's files": tensorflows_files, "frameworks": lambda: frameworks(folder),
                 "frameworks as objects": lambda: python_objects(folder),
                 "examples": lambda: examples(folder)}
        for name, part in parts.items():
            before = passed, len(failed)
            try:
                part()
            except Exception as error:  # a part that breaks off is a failure, and the others still run
                check(name, False, f"broke off: {error!r}")
            print(f"{name}: {passed - before[0]} passed, {len(failed) - before[1]} failed", flush=True)
    finally:
        shutil.rmtree(folder)
    print(f"{passed} passed, {len(failed)} failed")
    sys.exit(bool(failed))


main()
