"""The search: same points for same seeds, median pruning, and going on."""

import dataclasses
import json
import sys

import pytest

from glue_jax.studies import sweep, tpe

SPACE = sweep.parse_random(
  ['lr=choice:1,2,3,4', 'drop=uniform:0:1', 'n=int:1:9', 'decay=log:1e-4:1']
)


def curve(trial, steps=3):
  """Rises with lr, falls with the distance of drop from 0.5."""
  score = float(trial.overrides['lr'])
  score -= abs(float(trial.overrides['drop']) - 0.5)
  return [score * step for step in range(1, steps + 1)]


def run(count, study=None, **kwargs):
  """A search of `count` trials in which a pruned one is ended at once."""
  study = study or tpe.Study(SPACE, **kwargs)
  while len(study.trials) < count:
    trial = study.ask()
    for value in curve(trial):
      if study.report(value):
        study.tell('pruned')
        break
    else:
      study.tell('complete', value)
  return study


def test_points_depend_on_the_seed_alone():
  one, two, other = (run(12, seed=seed) for seed in (441, 441, 0))
  assert one.trials == two.trials
  assert one.trials != other.trials
  for trial in one.trials:
    assert trial.overrides['lr'] in ('1', '2', '3', '4')
    assert 0 <= float(trial.overrides['drop']) <= 1
    assert 1 <= int(trial.overrides['n']) <= 9
    assert 1e-4 <= float(trial.overrides['decay']) <= 1


def test_it_finds_better_points_than_its_first_ones():
  study = run(60, warmup_steps=99)
  values = [trial.value for trial in study.trials]
  assert sum(values[-20:]) > sum(values[:20]) * 1.2
  best = study.best()
  assert best.value == max(values) and best.overrides['lr'] == '4'


def test_a_trial_below_the_median_is_pruned_after_the_warm_up():
  study = tpe.Study(SPACE, warmup_steps=2, startup_trials=3)
  for value in (1.0, 2.0, 3.0):
    study.ask()
    assert not any(study.report(value) for _ in range(3))
    study.tell('complete', value)
  study.ask()
  # Step 1 is within the warm-up; at step 2 the median is 2.
  assert [study.report(1.9), study.report(1.9)] == [False, True]
  assert study.tell('pruned').reports == [[1, 1.9], [2, 1.9]]
  study.ask()
  assert not any(study.report(2.1) for _ in range(3))


def test_the_declared_warm_up_prunes_nothing_in_twenty_epochs():
  study = tpe.Study(SPACE)
  for number in range(8):
    study.ask()
    assert not any(study.report(-number) for _ in range(20))
    study.tell('complete', -number)


def test_less_is_better_where_the_direction_says_so():
  study = run(30, direction='min')
  done = [t.value for t in study.trials if t.state == 'complete']
  assert study.best().value == min(done)


def test_a_stopped_search_goes_on_to_the_same_points():
  whole = run(20, warmup_steps=1)
  assert {t.state for t in whole.trials} == {'complete', 'pruned'}
  records = [json.dumps(dataclasses.asdict(t)) for t in whole.trials[:11]]
  study = tpe.Study(SPACE, warmup_steps=1)
  for record in records:
    study.replay(json.loads(record))
  assert run(20, study).trials == whole.trials


def test_records_of_another_search_are_refused():
  record = dataclasses.asdict(run(1).trials[0])
  with pytest.raises(ValueError, match='trial 0 was .*, and is now'):
    tpe.Study(SPACE, seed=1).replay(record)


def test_failed_trials_are_never_the_best():
  study = tpe.Study(SPACE)
  with pytest.raises(ValueError, match='no trial is complete'):
    study.best()
  study.ask()
  study.tell('failed')
  with pytest.raises(ValueError, match=r"the states are \['failed'\]"):
    study.best()
  run(2, study)
  assert study.best().number == 1


def test_bad_input_is_named(monkeypatch):
  with pytest.raises(ValueError, match='search space is empty'):
    tpe.Study({})
  monkeypatch.setitem(sys.modules, 'optuna', None)
  with pytest.raises(ImportError, match=r"pip install 'glue_jax\[search\]'"):
    tpe.Study(SPACE)
