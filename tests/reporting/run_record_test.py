"""Reports: tables, records, cards and figures hold what was measured."""

import json

import numpy as np
import pytest

from glue_jax.data.tasks import by_name
from glue_jax.evaluation.predictions import Predictions
from glue_jax.export import model_card
from glue_jax.reporting import files as files_lib
from glue_jax.reporting import plots, run_record, tables, writers

RENDERS = True

PNG = b'\x89PNG\r\n\x1a\n'


def make_run(workdir, seed=0, steps=6):
  writer = writers.Writer(workdir, enabled=True)
  rng = np.random.default_rng(seed)
  for step in range(1, steps + 1):
    loss = float(rng.random()) if step != 3 else float('nan')
    writer.scalars(step, {'train/loss': loss, 'lr': 1e-4 / step})
    if step % 2 == 0:
      writer.scalars(step, {'validation/accuracy': step / 10})
  writer.close()
  return workdir / 'metrics.jsonl'


def size(path):
  """(width, height) from the file's header."""
  data = path.read_bytes()
  assert data.startswith(PNG)
  return tuple(int.from_bytes(data[i : i + 4]) for i in (16, 20))


def test_curves_have_a_panel_for_each_quantity(tmp_path):
  png = tmp_path / 'figures' / 'curves.png'
  panels = plots.plot_curves(make_run(tmp_path), png, 'a run')
  assert panels == ['loss', 'lr', 'accuracy']
  width, height = size(png)
  assert width > height > 300
  assert [p.name for p in png.parent.iterdir()] == ['curves.png']


def test_curves_are_reproducible_and_join_seeds(tmp_path):
  files = {f'seed {s}': make_run(tmp_path / str(s), s) for s in range(3)}
  for name in 'ab':
    plots.plot_curves(files, tmp_path / f'{name}.png')
  assert (tmp_path / 'a.png').read_bytes() == (tmp_path / 'b.png').read_bytes()


def test_curves_without_metrics_are_an_error(tmp_path):
  (tmp_path / 'metrics.jsonl').write_text('')
  with pytest.raises(ValueError, match='no metrics to draw'):
    plots.plot_curves(tmp_path / 'metrics.jsonl', tmp_path / 'c.png')


def test_confusion_counts_gold_in_rows(tmp_path):
  counts = plots.plot_confusion(
    [0, 0, 1, 2], [0, 1, 1, 0], ['a', 'b', 'c'], tmp_path / 'c.png'
  )
  assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
  assert size(tmp_path / 'c.png')[0] > 300


def test_scores_and_regression_are_drawn(tmp_path):
  plots.plot_scores({'cola': [0.5, 0.6], 'rte': [0.7]}, tmp_path / 's.png')
  plots.plot_regression([0.0, 1.0], [0.5, 0.5], tmp_path / 'r.png')
  assert size(tmp_path / 's.png')[0] > 300
  assert size(tmp_path / 'r.png')[0] > 300


def test_results_table_aligns_numbers():
  rows = [
    {'task': 'cola', 'matthews': 0.51234},
    {'task': 'sst2', 'matthews': None, 'accuracy': 0.9},
  ]
  assert tables.results_table(rows).splitlines() == [
    'task  matthews  accuracy',
    '----  --------  --------',
    'cola    0.5123         -',
    'sst2         -    0.9000',
  ]
  assert tables.results_table(rows, markdown=True).splitlines()[:2] == [
    '| task | matthews | accuracy |',
    '| ---- | -------: | -------: |',
  ]
  with pytest.raises(ValueError, match='no rows'):
    tables.results_table([])


def test_aggregate_gives_mean_sd_and_points():
  metrics = tables.aggregate([{'a': 1.0}, {'a': 2.0}, {'a': 3.0}])
  assert metrics == {'a': {'mean': 2.0, 'sd': 1.0, 'values': [1.0, 2.0, 3.0]}}
  assert tables.aggregate([{'a': 1.0}])['a']['sd'] is None
  with pytest.raises(ValueError, match="differ in their metrics: \\['b'\\]"):
    tables.aggregate([{'a': 1.0}, {'a': 1.0, 'b': 2.0}])


def test_metrics_table():
  joint = {'validation': tables.aggregate([{'f1': 0.5}, {'f1': 0.7}])}
  last = tables.metrics_table(joint).splitlines()[-1]
  assert last.split() == ['validation', 'f1', '0.6000', '0.1414'] + [
    '0.5000',
    '0.7000',
  ]


def test_run_record_says_where_and_with_what():
  record = run_record.run_record(
    {'seeds': (0,)}, seconds=1.5, programs_compiled=2
  )
  json.dumps(record)
  assert record['config'] == {'seeds': [0]}
  assert record['seconds'] == 1.5
  assert record['programs_compiled'] == 2
  assert record['devices']['count'] >= 1
  assert record['devices']['platform'] == 'cpu'
  assert record['versions'].keys() >= {'python', 'jax', 'flax', 'numpy'}
  assert record['peak_memory_bytes']['host'] > 2**20
  assert record['host']['cpus'] >= 1
  git = record['git']
  assert git is None or len(git['commit']) == 40


def test_git_state_of_a_folder_without_git(monkeypatch, tmp_path):
  file = str(tmp_path / 'a' / 'b' / 'record.py')
  monkeypatch.setattr(run_record, '__file__', file)
  assert run_record.git_state() is None


def make_predictions(task, split='validation'):
  n = 4
  return Predictions(
    task,
    split,
    list(range(n)),
    np.array([0, 1, 1, 0]),
    np.full((n, 2), 0.5),
    np.array([0, 1, 0, 0]),
  )


def result_of(seed, value):
  return {
    'task': 'rte',
    'seed': seed,
    'step': 6,
    'metrics': {'validation': {'accuracy': value, 'loss': 1.0}},
    'primary': {'metric': 'accuracy', 'direction': 'max', 'value': value},
  }


def test_write_run_leaves_record_figures_and_predictions(tmp_path):
  task = by_name.get('rte')
  make_run(tmp_path)
  run_record.write_run(
    {'seeds': [0]},
    tmp_path,
    task,
    result_of(0, 0.75),
    {'validation': make_predictions(task)},
    {'seconds': 3.0},
  )
  assert size(tmp_path / 'curves.png')
  assert size(tmp_path / 'predictions' / 'validation.png')
  lines = files_lib.read_lines(tmp_path / 'predictions' / 'validation.jsonl')
  assert [line['prediction'] for line in lines] == task.label_names(
    [0, 1, 1, 0]
  )
  record = run_record.read_json(tmp_path / 'run.json')
  assert record['seconds'] == 3.0
  assert record['result']['metrics']['validation']['accuracy'] == 0.75


def test_write_seeds_joins_them(tmp_path):
  for seed in (0, 1):
    make_run(tmp_path / f'seed_{seed}', seed)
  results = {0: result_of(0, 0.5), 1: result_of(1, 0.7)}
  joint = run_record.write_seeds(tmp_path, results)
  assert joint == run_record.read_json(tmp_path / 'result.json')
  assert joint['seeds'] == [0, 1]
  assert joint['primary']['value'] == pytest.approx(0.6)
  assert joint['primary']['values'] == [0.5, 0.7]
  assert joint['metrics']['validation']['loss']['sd'] == 0.0
  assert size(tmp_path / 'curves.png')
  assert size(tmp_path / 'scores.png')


def test_model_card_states_labels_scores_and_origin():
  record = run_record.run_record({}, seconds=12.0, examples_per_s=34.5)
  card = model_card.model_card(
    by_name.get('rte'),
    {'seeds': [0]},
    {'validation': {'accuracy': 0.75}},
    record=record,
    weights='somewhere',
  )
  assert card.startswith('---\nlibrary_name: transformers\n')
  assert '- 1: `not_entailment`' in card
  assert '| validation | accuracy | 0.7500 |' in card
  assert 'starting from `somewhere`' in card
  assert 'examples per second: 34.5' in card
  assert '"seeds"' in card


def test_read_json_names_the_file(tmp_path):
  with pytest.raises(ValueError, match='nothing.json is missing'):
    run_record.read_json(tmp_path / 'nothing.json')
  (tmp_path / 'bad.json').write_text('{')
  with pytest.raises(ValueError, match='bad.json is not JSON'):
    run_record.read_json(tmp_path / 'bad.json')
