"""Pseudo-labels in a run of two stages, and the mark that they leave."""

import json

import ml_collections
import numpy as np
import pytest

from glue_jax.data import pseudo
from glue_jax.data.table import Table
from glue_jax.data.tasks import by_name
from glue_jax.export import write
from glue_jax.inference import open_run, score
from glue_jax.training import runs, transductive
from tests.conftest import tiny_config

NAMES = ('unacceptable', 'acceptable')


def table(split, count, labelled=False):
  rows = [
    {'sentence': f'a word {i}', 'idx': i, 'label': i % 2} for i in range(count)
  ]
  return Table(
    by_name.get('mini_acceptability'), split, rows, split, 'tsv', labelled
  )


def model(folder, shares):
  """A run's folder with what it said of as many rows as there are shares."""
  (folder / 'predictions').mkdir(parents=True)
  lines = (
    json.dumps({'idx': i, 'probabilities': dict(zip(NAMES, (1 - p, p)))})
    for i, p in enumerate(shares)
  )
  (folder / 'predictions/test.jsonl').write_text('\n'.join(lines))
  return str(folder / 'model')


def test_what_the_mean_is_sure_of_is_added(tmp_path):
  models = [
    model(tmp_path / 'a', [0.95, 0.5, 0.0, 0.99]),
    model(tmp_path / 'b', [0.90, 1.0, 0.2, 0.70]),
  ]
  train, given = table('train', 3, True), table('test', 4)
  made, weights = pseudo.added(train, given, pseudo.Pseudo(models, weight=0.25))
  assert [row['label'] for row in made.rows] == [0, 1, 0, 1, 0]
  assert [row['idx'] for row in made.rows[3:]] == ['test-0', 'test-2']
  np.testing.assert_array_equal(weights, [1, 1, 1, 0.25, 0.25])
  assert 'transductive: 2 of 4 rows' in made.notes[-1]
  assert len(train) == 3


def test_bad_settings_are_refused(tmp_path):
  train, given = table('train', 3, True), table('test', 2)
  unsure = pseudo.Pseudo([model(tmp_path / 'a', [0.5, 0.6])])
  with pytest.raises(ValueError, match="none of 2 rows of 'test' has a label"):
    pseudo.added(train, given, unsure)
  with pytest.raises(ValueError, match='2 predictions, of other rows'):
    pseudo.added(train, table('test', 3), unsure)
  with pytest.raises(ValueError, match=r"missing; .*eval_splits=\(..., 'test'"):
    pseudo.added(train, given, pseudo.Pseudo([str(tmp_path / 'none')]))
  with pytest.raises(ValueError, match='expected models'):
    pseudo.bind({'threshold': 0.9})
  with pytest.raises(ValueError, match='1 of its runs twice'):
    pseudo.bind({'models': ('a', 'b', 'a')})
  with pytest.raises(ValueError, match='threshold'):
    pseudo.bind({'models': ['a'], 'threshold': 2})


def test_predictions_of_other_texts_or_classes_are_refused(tmp_path):
  train, given = table('train', 3, True), table('test', 2)
  settings = pseudo.Pseudo([model(tmp_path / 'a', [0.95, 0.0])])
  result = tmp_path / 'a/result.json'
  result.write_text(json.dumps({'inputs_sha256': {'test': given.inputs}}))
  gold = table('test', 2, True)
  gold.rows[0]['label'] = 1  # which are no part of what was read
  assert len(pseudo.added(train, gold, settings)[0]) == 5
  given = table('test', 2)
  given.rows[1]['sentence'] = 'other'
  with pytest.raises(ValueError, match='2 predictions, of other rows'):
    pseudo.added(train, given, settings)

  path = tmp_path / 'a/predictions/test.jsonl'
  asked, other = {}, {'probabilities': {'no': 0.9, 'yes': 0.1}}
  for fields, told in ((asked, r'\[\]'), (other, r"\['no', 'yes'\]")):
    lines = (json.dumps({'idx': i} | fields) for i in range(2))
    path.write_text('\n'.join(lines))
    with pytest.raises(ValueError, match=f'probabilities of {told}'):
      pseudo.added(train, table('test', 2), settings)


def test_later_stages_and_their_seeds_are_marked(tmp_path):
  one = tiny_config(model=dict(num_layers=1), train=dict(epochs=1)).to_dict()
  one.pop('stages')
  one['data'] |= dict(tokenizer='train', eval_splits=('validation', 'test'))
  teach = dict(one, seeds=(0, 1))
  learn = dict(one, data=one['data'] | dict(
    pseudo=dict(models=['stage:teach/*'], split='test', threshold=0.5)
  ))  # fmt: skip
  last = dict(one, model=one['model'] | dict(weights='stage:learn'))
  for name in (
    'name',
    'preset',
    'num_layers',
    'hidden_size',
    'intermediate_size',
    'max_positions',
  ):
    last['model'].pop(name)
  last['data'] = one['data'] | dict(tokenizer='stage:learn')
  config = ml_collections.ConfigDict(
    dict(stages=(('teach', teach), ('learn', learn), ('last', last)))
  )
  result = runs.run(config, tmp_path / 'run')
  marks = [s.get('transductive', False) for s in result['stages'].values()]
  assert marks == [False, True, True] and result['transductive']
  # So are an evaluation and an export, and a run that begins from that.
  learnt = open_run.open_run(tmp_path / 'run/learn')
  score.score(learnt, None, tmp_path / 'scores')
  scores = json.loads((tmp_path / 'scores/metrics.json').read_text())
  assert scores['transductive'] and transductive.NOTE in scores['notes']
  write.write(learnt, tmp_path / 'hf')
  assert transductive.marked(tmp_path / 'hf')
  assert 'It is transductive' in (tmp_path / 'hf/README.md').read_text()
  taught = open_run.open_run(tmp_path / 'run/teach', seed=0)
  write.write(taught, tmp_path / 'plain')
  assert not transductive.marked(tmp_path / 'plain')
  notes = result['stages']['learn']['notes']
  assert any('32 of 32 rows' in note for note in notes)
  kept = [
    json.loads((tmp_path / 'run' / n / 'result.json').read_text())
    for n in ('teach/seed_0', 'learn')
  ]
  hashes = [k['inputs_sha256'] for k in kept]
  assert hashes[0] == hashes[1] and hashes[0].keys() == {'validation', 'test'}
