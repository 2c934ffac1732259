"""Whole networks under the names of their authors: a BERT that TensorFlow built computes the same in Candle, and what Candle
saves of it is restored by the code that built it."""
import json
import sys

import numpy as np
import tensorflow as tf

from shared import ROOT, check, peer, v1

sys.path.insert(0, str(ROOT / "tests" / "fixtures" / "make"))
import models_shared
from models_bert import bert_outputs


def models(folder, seed):
    random = models_shared.random = np.random.default_rng(seed)
    (folder / "theirs").mkdir()
    given = {"input_ids": random.integers(0, 30, (2, 10)), "token_type_ids": random.integers(0, 2, (2, 10)),
             "input_mask": np.array([[1] * 10, [1] * 6 + [0] * 4])}
    (folder / "inputs.json").write_text(json.dumps({name: values.tolist() for name, values in given.items()}))
    graph = tf.Graph()
    with graph.as_default():
        ids, mask, types = (tf.constant(given[name], tf.int32) for name in ("input_ids", "input_mask", "token_type_ids"))
        outputs = bert_outputs(models_shared.gelu_tanh, ids, mask, types)
        saver = v1.train.Saver()
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            theirs = saver.save(session, str(folder / "theirs" / "bert_model.ckpt"))
            expected = session.run(outputs)
        ours = folder / "ours"
        answer = peer("bert", theirs, folder / "inputs.json", ours)
        check("models: Candle finds all of BERT's variables", answer["missing"] == [], answer["missing"])
        compare("computed by Candle", expected, answer["loaded"])
        latest = tf.train.latest_checkpoint(str(ours))
        names = {name for name, _ in tf.train.list_variables(latest)}
        check("models: saved are BERT's variables and global_step",
              names == {name for name, _ in tf.train.list_variables(theirs)} | {"global_step"}, names)
        with v1.Session() as session:
            saver.restore(session, latest)
            restored = session.run(outputs)
        compare("restored from Candle", restored, answer["changed"])
        check("models: which is not what it was", np.abs(restored["pooled_output"] - expected["pooled_output"]).max() > 1e-3)


def compare(what, theirs, ours):
    for name, values in theirs.items():
        numbers = np.array(ours[name], np.float32)
        off = np.abs(np.ravel(values) - numbers).max() / np.abs(values).max()
        check(f"models: {name} of BERT {what}", off < 1e-5, off)
