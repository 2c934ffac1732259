"""Graphs that are trained on without their code: TensorFlow takes its own graph back, restores it, and goes on."""
import json

import numpy as np
import tensorflow as tf

from frameworks import digits
from shared import DIGITS, check, peer, v1, whole_parts, write_theirs


def sessions(folder):
    images, labels = digits()
    expected = json.loads((DIGITS / "expected.json").read_text())["saver"]
    batches = folder / "session-batches"
    write_theirs(whole_parts({b"images": ("float32", images[:1500]), b"labels": ("int32", labels[:1500])}), batches)
    prefix = folder / "session" / "model.ckpt-300"
    ours = peer("session", DIGITS / "saver" / "model.ckpt-240", batches, 300, prefix)
    off = max(abs(loss / known - 1) for loss, known in zip(ours, expected["losses"][240:300]))
    check("session: a graph is trained on with TensorFlow's losses", len(ours) == 60 and off < 1e-5, off)
    with tf.Graph().as_default(), v1.Session() as session:
        v1.train.import_meta_graph(f"{prefix}.meta").restore(session, str(prefix))
        check("session: TensorFlow imports the graph and restores global_step", session.run("global_step/Read/ReadVariableOp:0") == 300)
        losses = []
        for step in range(300, 360):
            rows = slice(step * 50 % 1500, step * 50 % 1500 + 50)
            feeds = {"image:0": images[rows], "label:0": labels[rows]}
            losses.append(session.run(["loss:0", "train_op"], feeds)[0])
        off = max(abs(loss / known - 1) for loss, known in zip(losses, expected["losses"][300:360]))
        check("session: TensorFlow trains on from it with the same losses", off < 1e-4, off)
        logits = session.run("dense/logits:0", {"image:0": images[1500:]})
        off = np.abs(logits[:16] - np.array(expected["logits"])).max()
        check("session: and ends with the same network", off < 1e-3, off)
