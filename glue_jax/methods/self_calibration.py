"""Self-calibrated fine-tuning of Vega v1: labels mixed with own predictions.

Zhong et al. 2023, arXiv 2302.09268, name the trick; its content there is not
confirmed, this one is ours. The first epoch learns the labels as they stand.
Before each later one the training rows are predicted, without dropout, and
kept; the target of a row then is

  (1 - b) label + b p,   b from 0 in the first epoch to `beta` in the last

with p the kept probabilities, or the kept score of a regression. One
temperature for the finished run is fitted by `launch.probe calibrate`.

Use it: where some labels may be wrong and probabilities matter; no gain in
  accuracy was measured (launch/miniatures/vega_v1.py).
Costs: a pass over the training rows before each epoch but the first; C numbers
  a row in every checkpoint.
Not with: tasks other than of whole texts; a run of one epoch is plain
  fine-tuning.
"""

import base64
import functools

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.config.ranges import Share
from glue_jax.method import Context, Facts, Hook, Method
from glue_jax.plugs import Recorder

KINDS = ('classification', 'multiple_choice', 'regression')
KEPT = 'self_calibration'  # in the host's memory
OWN, MIXED = 'own_prediction', 'own_share'  # in the batch

FACTS = Facts(small={}, identity=True)


def make(ctx: Context, *, beta: Share = 0.3) -> Method:
  """Returns the method.

  Args:
    ctx: see `Context`.
    beta: the prediction's share of the target in the last epoch.

  Raises:
    ValueError: a task kind without sentence logits.
  """
  if ctx.task.form not in KINDS:
    raise ValueError(
      f'self_calibration needs a task of {KINDS}, {ctx.task.name} is '
      f'{ctx.task.form}'
    )
  regression = ctx.task.kind == 'regression'
  epochs = -(-ctx.total_steps // ctx.steps_per_epoch)

  def before_epoch(host):
    if host.epoch:
      found = host.predict('')
      rows = found.values if regression else found.probabilities
      host.memory[KEPT] = packed(np.asarray(rows))

  def collect(host, batch):
    idx = batch['idx']
    if KEPT not in host.memory:
      own = np.zeros((len(idx), 1), np.float32)
    else:
      own = unpacked(host.memory[KEPT], len(host.train_data.examples))[idx]
    share = beta * host.epoch / max(epochs - 1, 1)
    mixed = np.full(len(idx), share, np.float32)
    return batch | {OWN: own, MIXED: mixed}

  def prepare(apply, params, batch, rng):
    del apply, params, rng
    if MIXED not in batch:
      return batch
    labels, share = batch['labels'], batch[MIXED]
    mixed = (1 - share) * labels + share * batch[OWN][:, 0]
    return batch | {'labels': mixed}

  def wrap(loss):
    def mixed(apply, params, batch, rng):
      if MIXED not in batch:
        return loss(apply, params, batch, rng)
      recorder = Recorder(apply)
      hard, metrics = loss(recorder, params, batch, rng)
      logits = recorder.outputs[-1]['logits'].astype(jnp.float32)
      losses = -(batch[OWN] * jax.nn.log_softmax(logits)).sum(-1)
      weight, share = batch['weight'], batch[MIXED].max()
      soft = (losses * weight).sum(), weight.sum()
      total = (1 - share) * hard + share * soft[0] / jnp.maximum(soft[1], 1)
      return total, metrics | {'self_calibration': soft}

    return mixed

  return Method(
    'self_calibration',
    hooks=(Hook(before_epoch=before_epoch),),
    collect=collect,
    prepare=prepare if regression else None,
    wrap_loss=None if regression else wrap,
  )


def packed(rows: np.ndarray) -> str:
  """Returns numbers as text, as a checkpoint's notes keep them."""
  return base64.b64encode(rows.astype('<f4').tobytes()).decode('ascii')


@functools.lru_cache(maxsize=1)
def unpacked(text: str, rows: int) -> np.ndarray:
  """Returns (rows, C) float32 of what `packed` gave."""
  values = np.frombuffer(base64.b64decode(text), '<f4')
  return values.reshape(rows, -1)
