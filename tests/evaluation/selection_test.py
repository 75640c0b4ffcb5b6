"""The number that selects: named, checked before training, used by all."""

import json

import pytest

from glue_jax.data.tasks import by_name
from glue_jax.data.tasks.task import KINDS, Task
from glue_jax.evaluation import selection
from glue_jax.evaluation.selection import Criterion
from glue_jax.metrics import names
from glue_jax.training.begin import begin
from glue_jax.training.train import train
from tests.conftest import tiny_config

MNLI = by_name.get('mnli')
SPLITS = ('validation_matched', 'validation_mismatched')


def test_the_default_is_the_primary_metric_and_the_first_loss():
  best = selection.of_best(MNLI, SPLITS)
  assert best == Criterion('accuracy', SPLITS, 'max')
  metrics = {SPLITS[0]: {'accuracy': 0.5}, SPLITS[1]: {'accuracy': 0.7}}
  assert best.value(metrics) == pytest.approx(0.6)
  assert best.value({}) is None
  waits = selection.of_patience(MNLI, SPLITS, 2, best)
  assert waits == Criterion('loss', SPLITS[:1], 'min')
  given = selection.of_best(MNLI, SPLITS, 'accuracy')
  assert selection.of_patience(MNLI, SPLITS, 2, given) is given


@pytest.mark.parametrize(
  'given, metric, splits, direction',
  [
    ('loss', 'loss', SPLITS, 'min'),
    (f'{SPLITS[1]}/loss', 'loss', SPLITS[1:], 'min'),
    (f'{SPLITS[0]}/accuracy', 'accuracy', SPLITS[:1], 'max'),
  ],
)
def test_a_metric_is_named_with_its_split_or_alone(
  given, metric, splits, direction
):
  found = selection.of_best(MNLI, SPLITS, given)
  assert found == Criterion(metric, splits, direction, given=True)


def test_a_task_files_name_of_a_metric_is_understood():
  task = Task('t', 'classification', ('text',), ('a', 'b'), ('macro_f1',))
  found = selection.of_best(task, ('validation',), 'validation/f1_macro')
  assert found.metric == 'macro_f1' and found.direction == 'max'


@pytest.mark.parametrize('given', ['f1', 'dev/accuracy', f'{SPLITS[0]}/'])
def test_what_is_not_evaluated_is_refused_with_what_is(given):
  with pytest.raises(ValueError) as caught:
    selection.of_best(MNLI, SPLITS, given)
  assert f'{SPLITS[0]}/accuracy, {SPLITS[0]}/loss, ' in str(caught.value)
  with pytest.raises(ValueError, match='no split is evaluated'):
    selection.of_best(MNLI, (), given)


def test_a_metric_of_unknown_direction_needs_one():
  task = Task('t', 'classification', ('text',), ('a', 'b'), ('own',))
  with pytest.raises(ValueError, match='select_direction'):
    selection.of_best(task, ('validation',), 'own')
  assert selection.of_best(task, ('validation',), 'own', 'min').direction == (
    'min'
  )
  with pytest.raises(ValueError, match='not given'):
    selection.of_best(task, ('validation',), None, 'min')


def test_every_metric_of_every_kind_has_a_direction():
  for kind in KINDS:
    for unanswerable in (False, True):
      task = Task('t', kind, (), unanswerable=unanswerable)
      for name in (
        *names.of_kind(kind, unanswerable),
        *selection.measured(task),
      ):
        assert names.direction(name) in ('max', 'min'), name


def test_better_is_strict_and_never_nan():
  more, less = (Criterion('x', (), d) for d in ('max', 'min'))
  nan = float('nan')
  assert more.better(0.2, 0.1) and not more.better(0.1, 0.1)
  assert less.better(0.1, 0.2) and not less.better(0.2, 0.1)
  assert more.better(0.0, None) and not more.better(nan, None)
  assert not more.better(nan, 0.1) and not less.better(nan, 0.1)


def test_it_is_refused_before_training():
  changes = dict(train=dict(select_metric='validation/f1'))
  with pytest.raises(ValueError, match='validation/accuracy, validation/loss'):
    begin(tiny_config(**changes), 0)


def test_a_run_selects_by_it_and_says_so(tmp_path):
  # A high rate: the loss is best at first, and worse from then on.
  config = tiny_config(
    model=dict(num_layers=1),
    optimizer=dict(lr=0.3, warmup=0, schedule='constant'),
    train=dict(
      epochs=9, eval_every=1, select='best', patience=2,
      select_metric='validation/loss',
    ),
  )  # fmt: skip
  result = train(config, tmp_path, 0)
  lines = map(json.loads, (tmp_path / 'metrics.jsonl').read_text().splitlines())
  losses = {
    line['step']: line['validation/loss']
    for line in lines
    if 'validation/loss' in line
  }
  best = min(losses, key=losses.get)
  assert list(losses)[-1] == best + 2  # patience
  assert result['selected'] == {
    'by': 'validation/loss',
    'direction': 'min',
    'step': best,
    'value': losses[best],
  }
  assert result['step'] == best
  assert result['metrics']['validation']['loss'] == pytest.approx(losses[best])
  assert json.loads((tmp_path / 'result.json').read_text()) == result
