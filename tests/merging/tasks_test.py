"""Merges on data: statistics, search, study and soup, on tiny runs."""

import csv
import dataclasses
import functools
import json

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.inference import open_run
from glue_jax.merging import search, sources, stream, study
from glue_jax.merging import soup as soup_lib
from glue_jax.merging import tasks as merge_tasks
from glue_jax.merging.dare import Drop
from glue_jax.merging.settings import Settings
from glue_jax.training import runs
from glue_jax.weights import saved_model
from tests.commands import run_command
from tests.conftest import tiny_config

RENDERS = True

ROWS = merge_tasks.Rows(select=30, statistics=20, report=40, batch=8)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """A base run, and two runs of two tasks that start from it."""
  top = tmp_path_factory.mktemp('merge')
  runs.run(tiny_config(train=dict(epochs=1)), top / 'base')
  start = str(top / 'base' / 'model')
  for task in ('mini_acceptability', 'mini_sentiment'):
    config = tiny_config(
      task=dict(name=task),
      data=dict(tokenizer=start),
      train=dict(epochs=2, keep=2, eval_every=2),
    )
    config.model = dict(weights=start, stack='first_token', fresh=('head/.*',))
    runs.run(config, top / task)
  return top


@pytest.fixture(scope='module')
def group(trained):
  paths = [str(trained / f'mini_{t}') for t in ('acceptability', 'sentiment')]
  return sources.open_group(str(trained / 'base'), paths)


@pytest.fixture(scope='module')
def tasks(group):
  return [merge_tasks.open_task(s, ROWS) for s in group.sources]


def test_lengths_and_segments_are_those_of_the_run(group, monkeypatch):
  source = group.sources[0]
  record, data = merge_tasks._task_of(source, None)
  record = dataclasses.replace(record, max_length=12)
  data = {**data, 'max_length': None, 'segments': 'sentence'}
  monkeypatch.setattr(merge_tasks, '_task_of', lambda *_: (record, data))
  for batch in merge_tasks.open_task(source, ROWS).batches['report']:
    assert batch['input_ids'].shape[1] == 12
    assert batch['segment_ids'].shape == batch['input_ids'].shape


def test_rows_are_disjoint_and_the_own_body_scores_as_the_run(
  trained, group, tasks
):
  task = tasks[0]
  assert len(task.tables['select']) == 30
  assert len(task.tables['report']) == 40
  seen = [row for batch in task.statistics for row in batch['input_ids']]
  assert len(seen) == 24  # 20 rows, the last batch filled up
  weights = np.concatenate([b['weight'] for b in task.statistics])
  assert weights.sum() == 20
  whole = merge_tasks.open_task(
    group.sources[0], merge_tasks.Rows(select=1, report=None)
  )
  body = stream.to_arrays(group.models[0])
  found = whole.score(body)
  from glue_jax.evaluation import evaluate

  run = open_run.open_run(
    trained / 'mini_acceptability', 'last', splits=('validation',)
  )
  expected, _ = evaluate.evaluate(
    run.predict_fn,
    run.bundle.evals['validation'],
    run.task,
    run.bundle.tables['validation'],
  )
  assert found['accuracy'] == expected['accuracy']
  assert abs(found['loss'] - expected['loss']) < 1e-5


def test_gram_matrices_are_of_the_layers_inputs(group, tasks):
  """The last kernel's inputs are recomputed by hand from the outputs."""
  task = tasks[0]
  body = stream.to_arrays(group.models[0])
  settings = Settings('regmean', examples=20)
  grams = task.gather(body, settings)
  kernels = [n for n in group.names if n.endswith('/kernel')]
  assert sorted(grams) == sorted(kernels)
  name = 'pooler/dense/kernel'
  params = tree.unflatten(task.with_body(body))
  total = []
  for batch in task.statistics:
    outputs = task.model.apply({'params': params}, batch)
    x = np.asarray(outputs['last_hidden'][:, 0])[batch['weight'] > 0]
    total.append(x.T @ x / len(x))
  np.testing.assert_allclose(grams[name], np.mean(total, 0), atol=1e-5)
  # The last block's inputs are those of all positions.
  query = grams['encoder/layer_1/mixer/query/kernel']
  np.testing.assert_allclose(
    query, grams['encoder/layer_1/mixer/key/kernel'], atol=1e-6
  )


def test_fisher_is_the_squared_gradient_of_the_model(group, tasks):
  task = tasks[1]
  body = stream.to_arrays(group.models[1])
  found = task.gather(body, Settings('fisher', examples=20))
  assert sorted(found) == list(group.names)
  params = task.with_body(body)
  name = 'encoder/layer_0/ffn/ffn_out/kernel'

  def total(value, batch):
    flat = tree.unflatten({**params, name: value})
    logits = task.model.apply({'params': flat}, batch)['logits']
    log_p = jax.nn.log_softmax(logits)
    root = jax.lax.stop_gradient(jax.numpy.exp(log_p / 2))
    return ((root * log_p).sum(-1) * batch['weight']).sum()

  gradient = jax.jit(jax.grad(total))
  squares = [
    np.square(gradient(params[name], batch)) for batch in task.statistics
  ]
  np.testing.assert_allclose(
    found[name], sum(squares) / 20, rtol=1e-3, atol=1e-9
  )


def test_a_search_has_one_row_a_trial(group, tasks, tmp_path, capsys):
  start = Settings('ties', examples=16)
  grids = {'scale': (0.3, 1.0), 'mask_rate': (0.5, 0.8)}
  winner, report = search.select(
    group, tasks, start, grids, (0.5, 0.9), Drop(0.0), tmp_path
  )
  with (tmp_path / 'search.csv').open() as file:
    rows = list(csv.DictReader(file))
  assert len(rows) == 6
  assert float(rows[0]['mean']) == max(float(row['mean']) for row in rows)
  assert sum(bool(row['drop']) for row in rows) == 2
  assert winner.method == 'ties'
  assert report.keys() == {'mini_acceptability', 'mini_sentiment'}
  assert 'held-out training rows' in capsys.readouterr().out


def test_coefficients_of_two_models_add_up():
  trials = search.grid(Settings('fisher'), 2)
  assert all(sum(t.coefficients) == pytest.approx(1) for t in trials)
  assert len(trials) == 24
  trials = search.grid(Settings('fisher'), 3)
  assert {t.coefficients for t in trials} == {None}


def plan(**changes):
  values = dict(
    rates=(0.5, 0.99),
    control_rates=(0.5,),
    dare_rates=(0.5,),
    grids={
      'average': {},
      'task_arithmetic': {'scale': (0.5, 1.0)},
      'ties': {'scale': (1.0,)},
      'fisher': {'coefficients': (0.5,)},
      'regmean': {'alpha': (0.9,)},
    },
    examples=16,
    seed=0,
  )
  return study.Plan(**(values | changes))


def test_a_study_goes_on_where_it_was(group, tasks, tmp_path):
  bench = search.Bench(group.base, tasks, group.names)
  table = study.Study(bench, plan(), tmp_path).run()
  lines = (tmp_path / 'rows.jsonl').read_text().splitlines()
  assert {p.name for p in tmp_path.iterdir()} >= {
    'drop_rate.png', 'pairs.png', 'pairs.csv', 'pairs.txt',
  }  # fmt: skip
  # The header and its rule.
  assert len(table.splitlines()) == 2 + 1 + 2 * 5
  # The last rows again, then the same bytes and nothing measured twice.
  (tmp_path / 'rows.jsonl').write_text('\n'.join(lines[:-4]) + '\n')
  again = study.Study(bench, plan(), tmp_path).run()
  assert again == table
  assert (tmp_path / 'rows.jsonl').read_text().splitlines() == lines
  with pytest.raises(ValueError, match='is of another study'):
    study.Study(bench, plan(seed=1), tmp_path)


@pytest.mark.parametrize('kind', soup_lib.KINDS)
def test_a_soup_of_a_runs_checkpoints(trained, tmp_path, kind):
  run = str(trained / 'mini_sentiment')
  found = soup_lib.make([run], kind, tmp_path, ROWS)
  soup_lib.write(found, tmp_path, {'method': 'soup'})
  parts = [
    tree.flatten(saved_model.load(source.folder)[1])
    for i, source in enumerate(found.group.sources)
    if i in found.members
  ]
  saved = list(tmp_path.glob('checkpoints/step_*'))
  assert {source.folder for source in found.group.sources} == set(saved)
  assert len(saved) in (2, 3)  # the last two, and the best
  assert len(parts) == len(saved) or kind == 'greedy'
  soup = tree.flatten(saved_model.load(tmp_path)[1])
  for name, value in soup.items():
    mean = np.average([part[name] for part in parts], 0, found.shares)
    np.testing.assert_allclose(value, mean, atol=1e-6)
  record = json.loads((tmp_path / 'merge.json').read_text())
  assert ('report' in record) == (kind != 'uniform')
  assert ('shares' in record) == (kind == 'weighted')
  steps = [source.name for source in found.group.sources]
  assert steps == sorted(steps, key=lambda s: int(s.split('_')[1]))


command = functools.partial(run_command, 'merge')


def test_the_command_merges_and_says_what_is_wrong(trained, tmp_path):
  models = ','.join(
    str(trained / f'mini_{t}') for t in ('acceptability', 'sentiment')
  )
  shared = (f'--base={trained / "base"}', f'--models={models}')
  done = command(
    *shared, '--method=regmean', '--examples=16', '--select_rows=8',
    '--dare=0.9', f'--out={tmp_path}',
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  record = json.loads((tmp_path / 'merge.json').read_text())
  assert record['settings']['drop']['rate'] == 0.9
  for task in ('mini_acceptability', 'mini_sentiment'):
    assert f'written to {tmp_path / task}' in done.stdout
    saved_model.load(tmp_path / task)
  done = command(
    *shared, '--method=average', '--alpha=0.5', f'--out={tmp_path}'
  )
  assert done.returncode == 2
  assert "nothing reads ['--alpha'] with --method=average" in done.stderr
  done = command(
    f'--base={tmp_path}/none', f'--models={models}', '--method=ties',
    f'--out={tmp_path}',
  )  # fmt: skip
  assert done.returncode == 2
  assert done.stderr.splitlines()[-1].startswith('error: ')
  assert 'Traceback' not in done.stderr
