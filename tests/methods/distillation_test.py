"""A folder of the library as a teacher, by the command that a person types."""

import json

import numpy as np
import pytest
import torch

from glue_jax.inference import open_run
from glue_jax.training import begin, checkpoint, schema, train
from glue_jax.weights import source
from launch import train as command
from tests import commands, hf_folders
from tests.conftest import tiny_config
from tests.training.frozen_test import stopped_at

CONFIG = 'from tests.methods.distillation_test import get_config\n'
NAMES = ('unacceptable', 'acceptable')


def get_config(teacher):
  return tiny_config(
    model=dict(num_layers=1),
    data=dict(tokenizer=teacher),
    methods=(('distillation', dict(teacher=teacher)),),
    train=dict(epochs=None, steps=3, save_every=1, keep=3, log_every=1),
  )


@pytest.fixture(scope='module')
def bundle():
  return begin.build(schema.bind(tiny_config(), 1), 0).bundle


def teacher(folder, bundle, order=(0, 1)):
  """A folder whose head has its rows in that order of the task's labels."""
  names = {i: NAMES[place] for i, place in enumerate(order)}
  model = hf_folders.theirs(
    'bert',
    vocab_size=bundle.tokenizer.vocab_size,
    max_position_embeddings=16,
    num_labels=2,
    id2label=names,
    label2id={name: i for i, name in names.items()},
  )
  with torch.no_grad():
    for part in (model.classifier.weight, model.classifier.bias):
      part.copy_(part[list(order)])
  hf_folders.save(model, folder)
  bundle.tokenizer.save(folder)
  return model


def test_its_rows_are_matched_by_the_names_of_their_labels(bundle, tmp_path):
  for name, order in (('one', (0, 1)), ('two', (1, 0))):
    model = teacher(tmp_path / name, bundle, order)
  rows = bundle.train.batch(0)
  load = source.Others(bundle, {}).model
  apply, params = load(str(tmp_path / 'two'))
  ours = apply(params, rows)['logits']
  with torch.no_grad():
    theirs = model(
      **{
        name: torch.tensor(np.asarray(rows[name], np.int64))
        for name in ('input_ids', 'attention_mask', 'token_type_ids')
      }
    ).logits[:, [1, 0]]
  np.testing.assert_allclose(ours, theirs, atol=1e-4)

  file, one, two = (tmp_path / n for n in ('config.py', 'run_one', 'run_two'))
  train.train(get_config(str(tmp_path / 'two')), two, 0)
  file.write_text(CONFIG)
  arguments = (f'--config={file}:{tmp_path / "one"}', f'--workdir={one}')
  assert not commands.status(command, *arguments)
  lines = (one / 'metrics.jsonl').read_text()
  assert 'train/distillation' in lines
  assert (two / 'metrics.jsonl').read_text() == lines
  saved = one / 'checkpoints'
  record = json.loads((saved / 'last/3/frozen.json').read_text())
  assert {folder for _, folder in record.values()} == {str(tmp_path / 'one')}
  assert all(place.startswith('teacher/') for place in record)
  assert not (saved / 'frozen').exists()

  # Its values are none of a prediction's business, but of a run that goes on.
  hf_folders.rewrite(tmp_path / 'one', lambda t: t['classifier.bias'].fill(0))
  opened = open_run.load_run(one)
  assert opened.host.state.frozen['teacher'] == {}
  half = stopped_at(1, one, tmp_path / 'half')
  with pytest.raises(checkpoint.CheckpointError, match='head/.* is gone or'):
    train.train(get_config(str(tmp_path / 'one')), half, 0)


def test_one_without_a_head_is_refused(bundle, tmp_path):
  hf_folders.save(
    hf_folders.theirs(
      'bert', 'encoder', vocab_size=bundle.tokenizer.vocab_size
    ),
    tmp_path,
  )
  with pytest.raises(ValueError, match='head/.*: it is not fine-tuned'):
    source.Others(bundle, {}).model(str(tmp_path))
