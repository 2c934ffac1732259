"""Files, both ways: random bundles, parts of variables, merges, the V1 format, broken files, and what is stored."""
import hashlib
import json
import pathlib

import numpy as np
import tensorflow as tf

from shared import (ASSEMBLED, FIXED, ROOT, check, described, on_disk, partitioned, peer, random_array, random_strings,
                    random_variables, read_by_tensorflow, read_theirs, same_files, shape_and_slice, write_ours,
                    write_theirs)


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
