"""`Saver().restore` of what we wrote, and directories that both savers keep."""
import json
import subprocess

import numpy as np
import tensorflow as tf

from shared import PEER, check, equal, random_array, v1, whole_parts, write_ours


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
