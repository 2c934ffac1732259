"""`Saver().restore` of what we wrote."""
import numpy as np
import tensorflow as tf

from shared import check, equal, random_array, v1, whole_parts, write_ours


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
    """`Saver().restore` of what we wrote."""
    random = np.random.default_rng(3)
    kinds = ["float32", "float64", "float16", "int32", "int64", "uint8", "bool"]
    variables = {f"scope/{kind}": (kind, random_array(random, kind, (3, 4))) for kind in kinds}
    prefix = folder / "restore-me"
    write_ours(whole_parts({name.encode(): value for name, value in variables.items()}), prefix, folder)
    arrays = {name: array for name, (_, array) in variables.items()}
    check("Saver().restore into a graph of our names", equal(arrays, restored(prefix, arrays)))
