"""Promises in a setting where nothing falls together by itself.

Own texts of four scripts and of several lengths in three buckets, words that
training never saw, rows that fill no last batch, two parts a batch, dropout,
LoRA with dropout of its own, another seed than 0, and lines, evaluations and
checkpoints that rarely fall on one step. The laws of single methods are in
laws_test.py, kills at random moments in kill.py.
"""

import json
import os
import random
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from glue_jax.evaluation import evaluate
from glue_jax.inference import open_run, predict
from glue_jax.training import begin, checkpoint, schema, train
from glue_jax.weights import saved_model
from tests import device_cases, device_laws_test
from tests.conftest import ROOT, on_devices, tiny_config

SEED = 3
WORDS = [
  'żółty',
  'κρύο',
  '好的',
  'тёплый',
  'fine',
  'dull',
  'café',
  '夜',
  'день',
]
NEW = ['λέξη', '未知', 'unseen']  # of the validation split alone
TASK = """
name: scripts
dataset: csv:{folder}
columns: {{text: text}}
kind: classification
label_names: [słabe, добре, 好]
"""


def write_task(folder, rows=61, held_out=29):
  """A task of own texts; returns its file."""
  rng, labels = random.Random(5), ('słabe', 'добре', '好')
  for split, count, words in (
    ('train', rows, WORDS), ('validation', held_out, WORDS + NEW),
  ):  # fmt: skip
    lines = ['text,label'] + [
      f'{" ".join(rng.choices(words, k=rng.randint(1, 13)))},{labels[i % 3]}'
      for i in range(count)
    ]
    (folder / f'{split}.csv').write_text('\n'.join(lines) + '\n')
  (folder / 'task.yaml').write_text(TASK.format(folder=folder))
  return str(folder / 'task.yaml')


def rough(task, cache='', **changes):
  """The config; see the top of the file."""
  base = dict(
    task=dict(name=task),
    data=dict(
      batch_size=12, eval_batch_size=8, buckets=(6, 10, 16),
      train_limit=None, eval_limit=None, cache_dir=str(cache),
    ),
    train=dict(
      epochs=3, accumulate=2, log_every=4, eval_every=7, save_every=5,
      select='best',
    ),
    methods=[['lora', dict(rank=2, dropout=0.2)]],
  )  # fmt: skip
  return tiny_config(**(base | changes))


@pytest.fixture(scope='module')
def task(tmp_path_factory):
  return write_task(tmp_path_factory.mktemp('task'))


@pytest.fixture(scope='module')
def whole(task, tmp_path_factory):
  """The workdir of a run that was never stopped."""
  workdir = tmp_path_factory.mktemp('whole')
  train.train(rough(task), workdir, SEED)
  return workdir


FILES = (
  'metrics.jsonl', 'predictions/validation.jsonl', 'result.json',
  'model/params.safetensors', 'model/vocab.txt',
)  # fmt: skip


def test_the_setting_is_what_it_says(whole, task):
  parts = begin.build(schema.bind(rough(task), 1), SEED)
  batches = [parts.bundle.train.batch(i) for i in range(15)]
  assert len({b['input_ids'].shape[-1] for b in batches}) == 3
  unknown = parts.bundle.tokenizer.vocab['[UNK]']
  (evals,) = parts.bundle.evals.values()
  assert any((b['input_ids'] == unknown).any() for b in evals)
  assert any((b['weight'] == 0).any() for b in batches[:6])  # not all are full
  lines = [json.loads(x) for x in (whole / 'metrics.jsonl').open()]
  assert {4, 7, 8, 14, 18} <= {line['step'] for line in lines}


def told_at(patch, owner, name, call):
  """SIGTERM comes within a call; returns a list of the calls."""
  work, calls = getattr(owner, name), []

  def told(*arguments, **settings):
    calls.append(name)
    if len(calls) == call:
      os.kill(os.getpid(), signal.SIGTERM)
    return work(*arguments, **settings)

  patch.setattr(owner, name, told)
  return calls


def test_stopped_and_gone_on_is_the_same_bytes(
  whole, task, tmp_path, monkeypatch
):
  """Stopped after step 6, within an evaluation, and within a checkpoint."""
  # The cache is written by the first start and read by the next ones.
  config, workdir = rough(task, tmp_path / 'cache'), tmp_path / 'run'
  with monkeypatch.context() as patch:
    patch.setattr(train, 'Signals', train.Signals)
    device_cases._stop_after(train, 6)
    with pytest.raises(train.Interrupted):
      train.train(config, workdir, SEED)
  for owner, name in (
    (evaluate, 'evaluate'), (checkpoint.Checkpoints, 'save'),
  ):  # fmt: skip
    with monkeypatch.context() as patch:
      calls = told_at(patch, owner, name, 1)
      with pytest.raises(train.Interrupted, match='go on'):
        train.train(config, workdir, SEED)
    assert 1 <= len(calls) <= 2  # it saves before it stops
  train.train(config, workdir, SEED)
  assert list((tmp_path / 'cache').iterdir())
  for file in FILES:
    ours, theirs = (f / file for f in (workdir, whole))
    assert ours.read_bytes() == theirs.read_bytes(), file


def test_the_model_that_is_left_predicts_what_the_run_did(whole):
  """The merged one, of the best step, in batches of any size."""
  said = [
    json.loads(line)
    for line in (whole / 'predictions/validation.jsonl').open(encoding='utf-8')
  ]
  found = np.array([list(row['probabilities'].values()) for row in said])
  _, merged = saved_model.load(whole)
  for size in (5, 32):
    run = open_run.open_run(whole, splits=('validation',), batch_size=size)
    ours = predict.predict_split(run, 'validation')
    assert ours.idx == [row['idx'] for row in said]
    np.testing.assert_allclose(ours.probabilities, found, rtol=0, atol=1e-6)
    for batch in run.bundle.evals['validation']:
      logits = jax.jit(run.parts.plain)(merged, batch)['logits']
      rows = batch['idx'][batch['weight'] > 0]
      plain = np.asarray(jax.nn.softmax(logits))[batch['weight'] > 0]
      np.testing.assert_allclose(plain, found[rows], rtol=0, atol=1e-5)


def test_three_devices_give_the_result_of_one(task):
  """Widths that the devices don't divide, and two parts a batch."""
  config = json.loads(rough(task, methods=[]).to_json())
  config['model'] |= device_laws_test.BASE['model']
  cases = json.dumps({'full': config})
  done = subprocess.run(
    [sys.executable, '-m', 'tests.device_laws', cases, '3'],
    cwd=ROOT, env=on_devices(3), capture_output=True, text=True,
  )  # fmt: skip
  assert done.stdout.split() == ['equal', 'full'], done.stderr[-3000:]
