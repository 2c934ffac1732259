"""`init_from_checkpoint` and `warm_start`: the same maps, applied by TensorFlow and by us."""
import json
import re

import numpy as np
import tensorflow as tf

from shared import check, peer, v1, write_theirs

# What is in the checkpoints. Names, shapes and dtypes; the values are drawn.
OLD = {"b": [3], "enc/layer_0/w": [2, 2], "enc/layer_1/w": [2, 2], "long": ([2], "int64"), "old/a/b": [3],
       "old/a/w": [2, 3], "old/a/w/Adam": [2, 3], "old/c": [2], "old/running_mean": [3], "one": [1], "part": [4, 2],
       "scalar": [], "w": [2, 3]}
NET = {"net/a/w": [2, 3], "net/a/b": [3], "head/w": [3, 2]}
FLAT = {"w": [2, 3], "b": [3]}
SAME = {name: shape for name, shape in OLD.items() if name not in ("part", "old/a/w/Adam")}
OLDS = {name: shape for name, shape in SAME.items() if name.startswith("old/")}

AGREE, STRICTER, WIDER = "the same", "TensorFlow accepts, we refuse", "TensorFlow refuses, we accept"
OTHER = "both accept, with other values"


def pairs(*pairs):
    return {"pairs": pairs}


def warm(variables, **prev):
    return {"warm": {"vars": variables, "prev": {name.replace("__", "/"): tensor for name, tensor in prev.items()}}}


# What, the model, the map, and who accepts. `parts` says into how many parts TensorFlow's variables are cut.
CASES = [
    ("a tensor to a variable", NET, pairs(("old/a/w", "net/a/w")), AGREE),
    ("two pairs", NET, pairs(("old/a/w", "net/a/w"), ("b", "net/a/b")), AGREE),
    ("a scope to a scope", NET, pairs(("old/a/", "net/a/")), AGREE),
    ("a scope to a scope that is not all there", NET, pairs(("old/", "head/")), AGREE),
    ("an outer scope to an outer scope", NET, pairs(("old/", "net/")), AGREE),
    ("the root to a scope", NET, pairs(("/", "net/a/")), AGREE),
    ("a scope to the root", FLAT, pairs(("old/a/", "/")), AGREE),
    ("the root to the root", SAME, pairs(("/", "/")), AGREE),
    ("the root to the root, one is missing", NET | FLAT, pairs(("/", "/")), AGREE),
    ("one tensor to two variables", NET | {"net/b": [3]}, pairs(("b", "net/b"), ("b", "net/a/b")), AGREE),
    ("one scope to two scopes", FLAT | {"x/w": [2, 3], "y/w": [2, 3]}, pairs(("old/a/", "x/"), ("old/a/", "y/")), AGREE),
    ("a scope and a variable elsewhere", NET | {"b": [3]}, pairs(("old/a/", "net/a/"), ("old/running_mean", "b")), AGREE),
    ("an empty map", NET, pairs(), AGREE),
    ("no such tensor", NET, pairs(("old/a/v", "net/a/w")), AGREE),
    ("no such variable", NET, pairs(("old/a/w", "net/a/v")), AGREE),
    ("a tensor to a scope", NET, pairs(("old/a/w", "net/a/")), AGREE),
    ("a scope to a variable", NET, pairs(("old/a/", "net/a/w")), AGREE),
    ("another shape", NET, pairs(("old/a/w", "head/w")), AGREE),
    ("another rank", {"w": [2, 3, 1]}, pairs(("w", "w")), AGREE),
    ("a scalar to a scalar", {"x": []}, pairs(("scalar", "x")), AGREE),
    ("a scalar to a vector of one", {"x": [1]}, pairs(("scalar", "x")), AGREE),
    ("a vector of one to a scalar", {"x": []}, pairs(("one", "x")), AGREE),
    ("an int64 to an int64", {"x": ([2], "int64")}, pairs(("long", "x")), AGREE),
    ("an int64 to a float32", {"x": [2]}, pairs(("long", "x")), AGREE),
    ("a float32 to a float64", {"x": ([3], "float64")}, pairs(("b", "x")), AGREE),
    ("a partitioned tensor to a whole variable", {"x": [4, 2]}, pairs(("part", "x")), AGREE),
    ("a whole tensor to a partitioned variable", {"x": [2, 3], "parts": 2}, pairs(("w", "x")), AGREE),
    ("a scope with partitioned variables", {"x/part": [4, 2], "x/w": [2, 3], "parts": 2}, pairs(("/", "x/")), AGREE),
    ("a scope without a slash", NET, pairs(("old/", "net")), AGREE),
    ("no scope in the checkpoint either", NET, pairs(("old", "net")), AGREE),
    ("an empty tensor name", NET, pairs(("", "net/")), AGREE),
    ("an empty variable name", NET, pairs(("old/", "")), AGREE),
    ("the name of an output", NET, pairs(("old/a/w", "net/a/w:0")), AGREE),
    ("the name of an output in the checkpoint", NET, pairs(("old/a/w:0", "net/a/w")), AGREE),
    ("a scope of another's beginning", {"net/w": [2, 3], "net2/w": [9]}, pairs(("old/a/", "net/")), AGREE),
    ("a scope with a double slash", NET, pairs(("old/a//", "net/a/")), AGREE),
    ("moving averages in a scope", {"net/running_mean": [3], "net/c": [2]}, pairs(("old/", "net/")), AGREE),
    # The variable of TensorFlow then holds a value of another shape than its own.
    ("another shape in a scope", {"net/w": [3], "net/b": [3]}, pairs(("/", "net/")), STRICTER),
    ("a scope that nothing is in", NET, pairs(("old/", "nothing/")), STRICTER),
    ("a scope that nothing is in, but for the double slash", NET, pairs(("old/a/", "net/a//")), STRICTER),
    ("two tensors to one variable", NET, pairs(("old/a/b", "net/a/b"), ("b", "net/a/b")), STRICTER),
    ("a scope and a variable in it", NET, pairs(("old/a/", "net/a/"), ("b", "net/a/b")), STRICTER),
    ("a scope to what is no variable in a scope", NET, pairs(("old/a/", "net/a/v")), STRICTER),

    ("replaced beginnings", {"net/l0/w": [2, 2], "net/l1/w": [2, 2], "x": [3]},
     {"replace": [[r"net/l(\d)/", "enc/layer_${1}/"]]}, AGREE),
    ("a replaced scope", NET, {"replace": [["net/", "old/"]]}, AGREE),
    ("a replaced whole name", NET, {"replace": [["(net/a)/w$", "w"]]}, AGREE),
    ("replaced to what is not there", NET, {"replace": [["net/", "new/"]]}, AGREE),
    ("a replacement with another shape", NET, {"replace": [["head", ""], ["net/a/w", "w"]]}, AGREE),

    ("warm start of all that is trained", SAME, warm(".*"), AGREE),
    ("warm start, moving averages stay", OLDS, warm("old/"), AGREE),
    ("warm start of a list, moving averages too", OLDS, warm(["old/"]), AGREE),
    ("warm start by the start of a name", SAME, warm("old/a"), AGREE),
    ("warm start of two patterns", SAME, warm(["enc/layer_[0]", "old/[^a]"]), AGREE),
    ("warm start, not all is there", NET | FLAT, warm(".*"), AGREE),
    ("warm start of what is there", NET | FLAT, warm("[wb]"), AGREE),
    ("warm start with the name of an output", SAME, warm(".*/w:0$"), AGREE),
    ("warm start of an alternative", SAME, warm("enc|w"), AGREE),
    ("warm start under another name", NET, warm("net/a", net__a__w="w", net__a__b="old/a/b"), AGREE),
    ("warm start, two from one tensor", {"x": [3], "y": [3]}, warm(".*", x="b", y="b"), AGREE),
    ("warm start, an earlier name of nothing", NET | FLAT, warm("[wb]", net__a__w="w"), AGREE),
    ("warm start, a misspelt name", FLAT, warm(".*", v="w"), AGREE),
    ("warm start, an earlier name that is not there", NET, warm("net/a/w", net__a__w="v"), AGREE),
    ("warm start, another shape", {"w": [3, 2]}, warm(".*"), AGREE),
    ("warm start, another dtype", {"w": ([2, 3], "float64")}, warm(".*"), AGREE),
    ("warm start, no regular expression", FLAT, warm("("), AGREE),
    ("warm start of nothing", FLAT, warm("nothing"), STRICTER),
    ("warm start of a list with nothing", FLAT, warm(["w", "nothing"]), STRICTER),
    # To TensorFlow the name ends in `:0`, so that it selects nothing.
    ("warm start to the end of a name", FLAT, warm("w$"), OTHER),
    ("warm start by two patterns that overlap", FLAT, warm(["w", ".*"]), WIDER),
    ("warm start with a look-ahead", NET | FLAT, warm("(?!net|head)"), STRICTER),
]

OBJECTS = [
    ("objects: warm start by full names", {"enc/w": [2, 3], "enc/b": [3]}, warm(".*"), AGREE),
    ("objects: warm start of what is not there", {"enc/w": [2, 3], "enc/v": [3]}, warm(".*"), AGREE),
    ("objects: a key to a variable", {"x": [2, 3]}, pairs(("model/w/.ATTRIBUTES/VARIABLE_VALUE", "x")), AGREE),
    ("objects: the end of a name is no name", {"w": [2, 3]}, warm(".*"), AGREE),
    ("objects: a full name to a variable", {"x": [2, 3]}, pairs(("enc/w", "x")), WIDER),
    ("objects: a scope of full names", {"net/w": [2, 3], "net/b": [3]}, pairs(("enc/", "net/")), WIDER),
    ("objects: warm start under another full name", {"x": [2, 3]}, warm(".*", x="enc/w"), WIDER),
]


def assignments(folder, seed):
    folder = folder / "assignments"
    folder.mkdir()
    random = np.random.default_rng([seed, 4000])
    old = {name: random.integers(-99, 99, shape) if dtype == "int64" else random.standard_normal(shape, dtype=dtype)
           for name, (shape, dtype) in full(OLD).items()}
    stored = [(name.encode(), str(np.asarray(array).dtype), np.asarray(array), "") for name, array in old.items() if name != "part"]
    stored += [(b"part", "float32", old["part"][:3].copy(), "4 2 0,3:0,2"), (b"part", "float32", old["part"][3:].copy(), "4 2 3,1:0,2")]
    write_theirs(stored, folder / "old")
    model = tf.Module()
    model.w = tf.Variable(random.standard_normal([2, 3], dtype="float32"), name="enc/w")
    model.b = tf.Variable(random.standard_normal([3], dtype="float32"), name="enc/b")
    objects = tf.train.Checkpoint(model=model).write(str(folder / "objects"))

    cases = [(str(folder / "old"), *case) for case in CASES] + [(objects, *case) for case in OBJECTS]
    spec = [{"checkpoint": path, "model": {name: of for name, of in full(model).items()}, **how}
            for path, _, model, how, _ in cases]
    (folder / "assign.json").write_text(json.dumps(spec))
    for ours, (path, what, model, how, who) in zip(peer("assign", folder / "assign.json"), cases, strict=True):
        theirs = filled(path, model, how)
        check(f"assign, {what}: nothing is changed after an error", ours.get("unchanged", True))
        check(f"assign, {what}: {who}", verdict(theirs, ours) == who, (verdict(theirs, ours), theirs, ours))


def verdict(theirs, ours):
    if "values" in theirs and "values" in ours:
        return AGREE if theirs["values"] == ours["values"] else OTHER
    if "values" in theirs:
        return STRICTER
    return WIDER if "values" in ours else AGREE


def full(model):
    """Shape and dtype of each variable; float32 goes without saying."""
    return {name: of if isinstance(of, tuple) else (of, "float32") for name, of in model.items() if name != "parts"}


def filled(path, model, how):
    """What TensorFlow makes of a model whose variables are all -1."""
    with tf.Graph().as_default(), v1.Session() as session:
        partitioner = v1.fixed_size_partitioner(model["parts"]) if "parts" in model else None
        variables = {name: v1.get_variable(name, shape, dtype, v1.constant_initializer(-1), use_resource=True,
                                           trainable=not name.endswith("running_mean"), partitioner=partitioner)
                     for name, (shape, dtype) in full(model).items()}
        try:
            if "warm" in how:
                v1.train.warm_start(path, how["warm"]["vars"], var_name_to_prev_var_name=how["warm"]["prev"])
            else:
                v1.train.init_from_checkpoint(path, list(how.get("pairs", ())) + replaced(how, variables))
            session.run(v1.global_variables_initializer())
        except Exception as error:  # of whatever class: TensorFlow's are ValueError, TypeError, KeyError and its own
            return {"error": f"{type(error).__name__}: {error}"[:300]}
        values = {name: session.run(tf.convert_to_tensor(variable)) for name, variable in variables.items()}
        return {"values": {name: [float(x) for x in np.asarray(value).reshape(-1)] for name, value in values.items()}}


def replaced(how, variables):
    """The pairs that a replacement stands for."""
    found = []
    for pattern, replacement in how.get("replace", ()):
        for name in variables:
            if match := re.match(pattern, name):
                found.append((match.expand(re.sub(r"\$\{(\d)\}", r"\\\1", replacement)) + name[match.end():], name))
    return found
