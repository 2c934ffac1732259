"""`.meta` files: `import_meta_graph` in a fresh process, and `restore`."""
import json
import pathlib
import subprocess
import sys

import numpy as np

from shared import FIXED, check, peer, random_array, random_strings, whole_parts, write_specs


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
