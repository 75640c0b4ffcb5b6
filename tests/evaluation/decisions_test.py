"""Decisions: tuned on rows, kept in a file, applied to others."""

import json

import numpy as np
import pytest

from glue_jax.data.tasks import by_name
from glue_jax.evaluation import decisions
from glue_jax.evaluation.decode import log_softmax
from glue_jax.evaluation.predictions import Predictions
from glue_jax.metrics import scores

TWO = by_name.make(
  'two', kind='classification', columns=('t',), labels='no,yes', metrics='f1'
)
SETS = by_name.make('sets', kind='multilabel', columns=('t',), labels='a,b,c')


def classes(task=TWO, rows=60, seed=0, labels=None):
  rng = np.random.default_rng(seed)
  logits = rng.normal(size=(rows, len(task.labels))) * 3
  logits[:, 0] += 2  # 'yes' is rarely said
  drawn = rng.integers(0, 2, rows)
  logits[np.arange(rows), drawn] += 2
  return Predictions(
    task,
    'validation',
    list(range(rows)),
    logits.argmax(-1),
    np.exp(log_softmax(logits)),
    drawn if labels is None else labels,
    outputs={'logits': logits},
  )


def sets(rows=60, seed=0):
  rng = np.random.default_rng(seed)
  logits = rng.normal(size=(rows, 3)) * 2 - 1
  gold = (rng.normal(size=(rows, 3)) + logits > 0).astype(int)
  return Predictions(
    SETS,
    'validation',
    list(range(rows)),
    [np.flatnonzero(row > 0).tolist() for row in logits],
    1 / (1 + np.exp(-logits)),
    [np.flatnonzero(row).tolist() for row in gold],
    outputs={'logits': logits},
  )


def test_two_classes(tmp_path):
  found = classes()
  tuned = decisions.tune(found)
  assert tuned.metric == 'f1' and len(tuned.thresholds) == 1
  assert tuned.temperature > 1 and tuned.ece['after'] < tuned.ece['before']
  applied = decisions.decided(tuned, found)
  logits = found.outputs['logits'] / tuned.temperature
  np.testing.assert_allclose(applied.probabilities, np.exp(log_softmax(logits)))
  np.testing.assert_array_equal(
    applied.values, applied.probabilities[:, 1] >= tuned.thresholds[0]
  )
  better = scores.f1(applied.values, found.labels)
  assert better > scores.f1(found.values, found.labels)
  # As from its file, and in words.
  tuned.save(tmp_path)
  again = decisions.read(tmp_path)
  assert decisions.decided(again, found).values.tolist() == (
    applied.values.tolist()
  )
  assert 'thresholds for f1: yes 0.' in again.said(TWO)
  assert decisions.read(tmp_path / 'nowhere') is None
  # What there was is as it was.
  assert found.values.tolist() == found.outputs['logits'].argmax(-1).tolist()
  assert decisions.decided(None, found) is found


def test_a_temperature_alone_changes_no_label():
  for found in (classes(), sets()):
    tuned = decisions.tune(found, thresholds=False)
    applied = decisions.decided(tuned, found)
    assert not tuned.thresholds and tuned.temperature != 1
    assert list(applied.values) == list(found.values)
    assert (applied.probabilities != found.probabilities).any()


def test_sets():
  found = sets()
  gold = decisions.gold(found)
  value = {}
  for metric in ('macro_f1', 'micro_f1', 'exact_accuracy'):
    tuned = decisions.tune(found, metric=metric, temperature=False)
    assert len(set(tuned.thresholds)) == (3 if metric == 'macro_f1' else 1)
    applied = decisions.decided(tuned, found)
    there = applied.probabilities >= np.array(tuned.thresholds)
    chosen = [np.flatnonzero(row).tolist() for row in there]
    assert applied.values == chosen
    value[metric] = scores.multilabel(there, gold)[metric]
  untuned = scores.multilabel(found.outputs['logits'] > 0, gold)
  assert all(value[metric] >= untuned[metric] for metric in value)
  assert value['macro_f1'] > untuned['macro_f1']


def test_several_classes_have_a_temperature_only():
  three = by_name.make(
    'three', kind='classification', columns=('t',), labels='x,y,z'
  )
  found = classes(three)
  assert decisions.tune(found).thresholds == ()
  with pytest.raises(ValueError, match='chooses one of 3.*--nothresholds'):
    decisions.tune(found, thresholds=True)


def test_rows_that_say_too_little():
  with pytest.raises(ValueError, match='12 rows; expected 20 or more'):
    decisions.tune(classes(rows=12))
  with pytest.raises(ValueError, match='all 60 rows .* the same label'):
    decisions.tune(classes(labels=np.ones(60, int)))
  with pytest.raises(ValueError, match="'pearson'; known for two: accuracy"):
    decisions.tune(classes(), metric='pearson')
  hidden = classes()
  hidden.labels = None
  with pytest.raises(ValueError, match='no labels to tune'):
    decisions.tune(hidden)
  span = by_name.get('squad_v1')
  with pytest.raises(ValueError, match='is span; thresholds and temperature'):
    decisions.check(span)
  # Separated rows: a bound, and a note; T can't go to 0.
  found = classes()
  found.labels = found.outputs['logits'].argmax(-1)
  tuned = decisions.tune(found)
  assert tuned.temperature == pytest.approx(0.05)
  assert 'separated without an error' in tuned.notes[0]
  # A label that every row lacks keeps a half.
  without = sets()
  without.labels = [[c for c in row if c] for row in without.labels]
  tuned = decisions.tune(without)
  assert tuned.thresholds[0] == 0.5 and "['a'] keep 0.5" in tuned.notes[-1]
  # All probabilities alike.
  flat = classes()
  flat.outputs['logits'] = np.zeros((60, 2))
  tuned = decisions.tune(flat)
  assert tuned.temperature == 1 and 0 <= tuned.thresholds[0] <= 1


@pytest.mark.parametrize('text', ['{', '[]', '{"temperature": "x"}'])
def test_a_damaged_file_is_refused(tmp_path, text):
  (tmp_path / decisions.FILE).write_text(text)
  with pytest.raises(ValueError, match='is no file of decisions.*delete it'):
    decisions.read(tmp_path)


def test_a_file_of_a_later_version_is_read(tmp_path):
  decisions.tune(classes()).save(tmp_path)
  path = tmp_path / decisions.FILE
  record = json.loads(path.read_text()) | {'later': 1}
  path.write_text(json.dumps(record))
  assert decisions.read(tmp_path).metric == 'f1'
