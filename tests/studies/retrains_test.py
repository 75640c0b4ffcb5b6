"""Several runs of one recipe: their summary, and what is handed in."""

import json
import math
import statistics
import zipfile

import pytest

from glue_jax.data.tasks import by_name
from glue_jax.studies import retrains

NAMES = ('no', 'yes')


def rows(predictions, labels='1010'):
  return [
    {'idx': i, 'prediction': NAMES[int(ours)], 'label': NAMES[int(gold)]}
    for i, (ours, gold) in enumerate(zip(predictions, labels))
  ]


@pytest.fixture
def task():
  return by_name.make(
    'mine', kind='classification', columns=('text',), labels=NAMES
  )


def test_the_deviation_is_that_of_a_sample(task):
  runs = [retrains.scores(task, rows(p)) for p in ('1010', '1011', '0010')]
  mean, median, sd = retrains.summary(runs)
  assert mean['accuracy'] == pytest.approx(2.5 / 3)
  assert median['accuracy'] == 0.75
  # Of 1, 0.75, 0.75 with n - 1.
  assert sd['accuracy'] == pytest.approx(0.25 / math.sqrt(3))
  f1 = [run['classes']['yes']['f1'] for run in runs]
  assert mean['classes']['yes']['f1'] == pytest.approx(statistics.fmean(f1))
  assert sd['classes']['yes']['f1'] == pytest.approx(statistics.stdev(f1))


def test_one_run_has_no_deviation(task):
  one = retrains.scores(task, rows('1011'))
  mean, median, sd = retrains.summary([one])
  assert mean == median == one
  assert sd['accuracy'] == sd['f1_macro'] == sd['classes']['no']['f1'] == 0


def test_a_class_that_a_run_never_meets_counts_zero_there():
  one = {'classes': {'a': {'f1': 1.0}}}
  two = {'classes': {'a': {'f1': 1.0}, 'b': {'f1': 0.5}}}
  mean, _, sd = retrains.summary([one, two])
  assert mean['classes'] == {'a': {'f1': 1.0}, 'b': {'f1': 0.25}}
  assert sd['classes']['b']['f1'] == pytest.approx(0.25 * math.sqrt(2))


def test_tags_are_scored_by_chunks():
  task = by_name.make(
    'tags',
    kind='token_classification',
    columns=('tokens',),
    labels=('O', 'B-A', 'I-A'),
  )
  scores = retrains.scores(
    task,
    [
      {'prediction': ['B-A', 'I-A', None], 'label': ['B-A', 'I-A', 'O']},
      {'prediction': ['B-A', 'O'], 'label': ['B-A', 'I-A']},
    ],
  )
  assert scores['f1_micro'] == 0.5 and scores['accuracy'] == 3 / 5
  assert scores['classes']['A']['support'] == 2


def test_a_submission_can_be_recomputed_from_what_is_handed_in(task, tmp_path):
  predictions = {'seed_0': rows('1010'), 'seed_1': rows('1011')}
  runs = [
    retrains.scores(task, predicted) for predicted in predictions.values()
  ]
  content = retrains.submission(
    task,
    'owner/model',
    runs,
    hparams={'optimizer.lr': '1e-3'},
    config={'task': {'name': 'mine'}},
    dataset='owner/data',
  )
  path = retrains.write_submission(content, predictions, tmp_path)
  assert path.name == 'mine_owner__model.json'
  read = json.loads(path.read_text())
  assert set(read) == {
    *('submission_name', 'dataset_name', 'dataset_version', 'embedding_name'),
    *('hparams', 'packages', 'leaderboard_task_name', 'metrics', 'config'),
    *('metrics_avg', 'metrics_median', 'metrics_std', 'metrics_scale'),
    'averaged_over',
  }
  assert read['averaged_over'] == len(read['metrics']) == 2
  assert any(p.startswith('numpy==') for p in read['packages'])
  packed = tmp_path / 'mine_owner__model_predictions.json.zip'
  with zipfile.ZipFile(packed) as file:
    (inner,) = file.namelist()
    given = json.loads(file.read(inner))
  again = [retrains.scores(task, predicted) for predicted in given.values()]
  sd = statistics.stdev(run['f1_macro'] for run in again)
  assert read['metrics_std']['f1_macro'] == pytest.approx(sd, abs=1e-12)
  before = packed.read_bytes()
  retrains.write_submission(content, predictions, tmp_path)
  assert packed.read_bytes() == before


def test_what_cannot_be_scored_is_refused(task, tmp_path):
  with pytest.raises(ValueError, match='test.jsonl does not exist'):
    retrains.read_predictions(tmp_path, 'test')
  (tmp_path / 'predictions').mkdir()
  path = tmp_path / 'predictions' / 'test.jsonl'
  path.write_text('{"idx": 0, "prediction": "no"}\n')
  with pytest.raises(ValueError, match='has no labels'):
    retrains.read_predictions(tmp_path, 'test')
  numbers = by_name.make('n', kind='regression', columns=('text',))
  with pytest.raises(ValueError, match='n: a regression task has no class'):
    retrains.scores(numbers, [])
