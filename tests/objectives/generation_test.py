"""Texts are learned as the library does it, written, scored and predicted."""

import dataclasses
import json
import types

import numpy as np
import pytest
import torch

from glue_jax.data.examples import IGNORED
from glue_jax.data.table import Table
from glue_jax.data.tasks import by_name
from glue_jax.evaluation import evaluate
from glue_jax.evaluation.predictions import Predictions
from glue_jax.inference import open_run, predict, write_predictions
from glue_jax.objectives import generation
from glue_jax.plugs import Apply
from glue_jax.training import runs
from tests import quick
from tests.conftest import tiny_config
from tests.models import decoders_test, seq2seq_test

COLOURS = ('red', 'green', 'blue', 'white')
OWN = types.SimpleNamespace(form='generation', kind='generation', metrics=())


@pytest.mark.parametrize('case', ['llama', 'bart'])
def test_the_loss_is_the_librarys_on_the_target_alone(case, tmp_path):
  """A row of prompt and target; of an encoder-decoder in two parts."""
  seq2seq = case == 'bart'
  home = seq2seq_test if seq2seq else decoders_test
  peer = home.theirs(case)
  peer.save_pretrained(tmp_path)
  kind = 'seq2seq_lm' if seq2seq else 'causal_lm'
  model, params = decoders_test.opened(tmp_path, kind)
  tokenizer = types.SimpleNamespace(end_id=2, pad_id=model.config.pad_id)
  ctx = types.SimpleNamespace(
    task=OWN, model=model, tokenizer=tokenizer, lengths=(9,)
  )
  objective = generation.make(ctx, max_new_tokens=4)
  rng = np.random.default_rng(0)
  ids = np.full((3, 9), model.config.pad_id, np.int32)
  labels, mask = np.full_like(ids, IGNORED), np.zeros_like(ids)
  for row, (asked, said) in enumerate(((4, 5), (3, 2), (2, 1))):
    ids[row, : asked + said] = rng.integers(4, 53, asked + said)
    labels[row, asked : asked + said] = ids[row, asked : asked + said]
    mask[row, : asked + said] = 1
  batch = {'input_ids': ids, 'attention_mask': mask, 'labels': labels}
  batch['weight'] = np.ones(3, np.float32)
  config = dataclasses.replace(model.config, dropout=0.0)
  apply = Apply(model.clone(config=config))

  @quick.jit
  def run(params):
    return objective.loss(apply, params, batch, None)

  loss, metrics = run(params)
  assert metrics['loss'][1] == 8
  if seq2seq:
    given = generation.parted(batch, model.config)
    theirs = {k: given[k] for k in ('input_ids', 'attention_mask', 'labels')}
  else:
    theirs = {k: batch[k] for k in ('input_ids', 'attention_mask', 'labels')}
  inputs = {k: torch.tensor(np.array(x)).long() for k, x in theirs.items()}
  with torch.no_grad():
    expected = peer(**inputs).loss.item()
  assert float(loss) == pytest.approx(expected, abs=1e-4)


def config(folder, **task):
  rng = np.random.default_rng(0)
  for split, count in (('train', 120), ('validation', 12)):
    rows = [
      dict(zip(('source', 'target'), (f'{a} {b}', str(b))))
      for a, b in (rng.choice(COLOURS, 2, replace=False) for _ in range(count))
    ]
    text = '\n'.join(map(json.dumps, rows)) + '\n'
    (folder / f'{split}.jsonl').write_text(text)
  task = dict(name='second', columns=('source',), label='target') | task
  files = {s: str(folder / f'{s}.jsonl') for s in ('train', 'validation')}
  made = tiny_config(
    data=dict(files=files, tokenizer='train', vocab_size=90, max_length=24),
    model=dict(
      name='llama', num_heads=2, num_kv_heads=1, num_layers=1,
      hidden_size=32, max_positions=32,
    ),
    objective=dict(name='generation', max_new_tokens=8),
    optimizer=dict(lr=1e-2),
    train=dict(epochs=20, eval_every=160),
  )  # fmt: skip
  made.task = task
  made.data.buckets = (24,)
  made.data.train_limit = made.data.eval_limit = None
  return made


def test_classes_are_asked_for_written_and_read(tmp_path):
  """One run: trained, scored, predicted by split and by text, in one file."""
  asked = dict(
    kind='classification', labels=COLOURS, closing=' .',
    prompt='of {source} the second is',
  )  # fmt: skip
  short = config(tmp_path, **asked)
  short.objective.max_new_tokens = 1
  with pytest.raises(ValueError, match='max_new_tokens=1 of them are written'):
    runs.run(short, tmp_path / 'short')
  runs.run(config(tmp_path, **asked), tmp_path / 'run')
  record = json.loads((tmp_path / 'run' / 'run.json').read_text())
  scored = record['result']['metrics']['validation']
  assert scored['readable'] == 1
  assert scored['accuracy'] == 1
  run = open_run.open_run(tmp_path / 'run', splits=('validation',))
  found = predict.predict_split(run, 'validation')
  assert (found.values == found.labels).all()
  own = predict.predict_rows(run, [{'source': 'red blue'}])
  write_predictions.write(own, tmp_path / 'own.jsonl')
  written = json.loads((tmp_path / 'own.jsonl').read_text())
  assert written == {'idx': 0, 'prediction': 'blue', 'text': 'blue.'}


def test_texts_are_scored_and_predicted(tmp_path):
  made = config(tmp_path, kind='generation', metrics=('rouge1', 'exact_match'))
  made.train = dict(steps=1)
  runs.run(made, tmp_path / 'run')
  run = open_run.open_run(tmp_path / 'run', splits=('validation',))
  found = predict.predict_split(run, 'validation')
  assert evaluate.score(found, run.bundle.tables['validation']).keys() == {
    'rouge1',
    'exact_match',
  }
  record = next(found.records())
  assert record['label'] in COLOURS
  assert isinstance(record['prediction'], str)


def test_what_names_no_class_is_wrong():
  task = by_name.make(
    'own', kind='classification', columns=('a',), labels=('no', 'yes'),
    prompt='{a}', metrics=('f1', 'accuracy'),
  )  # fmt: skip
  rows = [
    {'a': 'x', 'label': label, 'idx': i} for i, label in enumerate((1, 1))
  ]
  table = Table(task, 'test', rows, '', 'rows', True)
  found = Predictions(task, 'test', [0, 1], np.array([1, -1]))
  assert evaluate.score(found, table) == pytest.approx(
    {'f1': 2 / 3, 'accuracy': 0.5, 'readable': 0.5}
  )
  assert list(found.records())[1]['prediction'] is None


def test_an_encoder_is_refused_before_any_work(tmp_path):
  made = config(tmp_path, kind='generation', metrics=('rouge1',))
  made.model = dict(name='bert', preset='tiny')
  with pytest.raises(ValueError, match="'bert' is an encoder and writes no"):
    runs.run(made, tmp_path / 'run')
  made = config(tmp_path, kind='generation', metrics=('rouge1',))
  made.objective.max_new_tokens = 30
  with pytest.raises(ValueError, match='max_new_tokens=30 exceed the 32'):
    runs.run(made, tmp_path / 'run')
  made.objective = dict(name='task')
  with pytest.raises(ValueError, match="texts: objective.name='generation'"):
    runs.run(made, tmp_path / 'run')
  made = tiny_config(objective=dict(name='generation'))
  with pytest.raises(ValueError, match='give task.prompt, or another'):
    runs.run(made, tmp_path / 'run')
