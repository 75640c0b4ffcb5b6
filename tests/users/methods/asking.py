"""Before each step the model is asked, and its answers are scored as words.

A label is drawn for every row; where its name and the row's text share no
letter, the row weighs half.
"""

import jax
import numpy as np

from glue_jax.method import Context, Facts, Method

FACTS = Facts(small={})


def make(ctx: Context) -> Method:
  names = [str(label) for label in ctx.task.labels]

  def drawn(apply, params, batch, key):
    logits = apply(params, batch)['logits']
    return {'drawn': jax.random.categorical(key, logits)}

  def collect(host, batch):
    ask = host.program('asking', drawn)
    answers = ask(batch, host.key())['drawn']
    texts = [host.tokenizer.decode(row) for row in batch['input_ids']]
    shared = [
      bool(set(names[answer]) & set(text))
      for answer, text in zip(answers, texts, strict=True)
    ]
    return batch | {'score': np.where(shared, 1, 0.5).astype(np.float32)}

  def prepare(apply, params, batch, rng):
    return batch | {'weight': batch['weight'] * batch['score']}

  return Method('asking', collect=collect, prepare=prepare)
