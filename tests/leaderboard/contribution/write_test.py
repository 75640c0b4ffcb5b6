"""Contributions from runs' records, and gold from labelled data."""

import json
import subprocess

import pytest

from glue_jax.data.tasks import by_name
from glue_jax.leaderboard import board, gold, registry
from glue_jax.leaderboard.contribution import check, write
from glue_jax.leaderboard.contribution.write import Author, Run
from glue_jax.leaderboard.safety import Refused
from glue_jax.leaderboard.site import site
from tests.leaderboard import boards

AUTHOR = Author(('A. Nobody',), 'nobody@example.org', 'Tiny.')
LABELS = ('entailment', 'not_entailment')


def record(seed=0, **changes):
  """What a run of launch.train leaves in run.json, made by hand."""
  return {
    'task': 'rte',
    'result': {'seed': seed},
    'finished': '2026-02-03T04:05:06+00:00',
    'command': [
      'train.py',
      '--config=configs/glue.py:rte',
      '--config.data.data_dir=/home/somebody/data',
      '--config.model.weights=/home/somebody/minilm/model',
      '--config.optimizer.lr=1e-3',
      f'--config.seeds=({seed},)',
      '--workdir=/home/somebody/runs',
    ],
    'config': {
      'model': {'weights': '/home/somebody/minilm/model'},
      'seeds': [seed],
    },
    'versions': {'jax': '0.10.2'},
    'git': {'commit': 'abcdef0', 'changed': False},
    'devices': {'platform': 'cpu', 'kinds': ['cpu'], 'count': 1},
    'host': {'machine': 'x86_64', 'cpus': 2},
    'parameters': 1000,
    'parameters_trained': 50,
    'seconds': 10.0 + seed,
    'peak_memory_bytes': {'host': 10**9 + seed},
  } | changes


def a_run(seed=0, wrong=(), **changes):
  rows = [
    {
      'idx': i,
      'prediction': LABELS[(i + (i in wrong)) % 2],
      'label': LABELS[i % 2],
    }
    for i in range(6)
  ]
  return Run('rte', 'validation', seed, rows, record(seed, **changes))


@pytest.fixture
def home(tmp_path):
  """A leaderboard whose only task is RTE with six examples."""
  entry = gold.entries(by_name.get('rte'))['validation']
  rows = [write.gold_row(row) for row in a_run().rows]
  registry.write(tmp_path / 'board', [entry], {'rte': rows})
  return tmp_path / 'board'


def test_a_run_becomes_a_contribution_without_problems(home):
  folder = home / 'contributions/tiny'
  files = write.write(folder, [a_run()], AUTHOR)
  assert files == ['metadata.json', 'rte/seeds/0/predictions.jsonl', 'run.sh']
  assert boards.problems(home, folder) == []
  metadata = json.loads((folder / 'metadata.json').read_text())
  assert metadata['base_checkpoint'] == 'minilm'
  assert metadata['date'] == '2026-02-03' and metadata['packages'] == {
    'jax': '0.10.2'
  }
  run = metadata['runs']['rte']
  assert run['params_total'] == 1000 and run['params_trainable'] == 50
  assert run['params_stored_per_task'] == 50
  assert run['train'] == {
    'hardware': 'x86_64 CPU, 2 cores',
    'device_count': 1,
    'seconds': 10.0,
    'peak_memory_bytes': 10**9,
  }


def test_what_was_trained_on_its_test_inputs_says_so(home):
  folder = home / 'contributions/tiny'
  seen = {'seed': 1, 'transductive': True}
  write.write(folder, [a_run(0), a_run(1, result=seen)], AUTHOR)
  write.write(folder, [a_run(2)])  # the mark stays
  run = json.loads((folder / 'metadata.json').read_text())['runs']['rte']
  assert run['transductive'] is True and boards.problems(home, folder) == []
  pages = dict(site.files(board.evaluate(home), 'Leaderboard'))
  for page in ('index.html', 'tasks/rte.html'):
    assert 'transductive' in pages[page], page


def test_nothing_of_the_machine_is_told(home):
  folder = home / 'contributions/tiny'
  write.write(folder, [a_run()], AUTHOR)
  for path in folder.rglob('*'):
    if path.is_file():
      assert 'somebody' not in path.read_text(), path
  script = (folder / 'run.sh').read_text()
  assert '--config.optimizer.lr=1e-3' in script
  assert '--workdir=runs/rte/seed_0' in script
  subprocess.run(['sh', '-n', str(folder / 'run.sh')], check=True)


def test_a_method_grows_by_seeds(home):
  folder = home / 'contributions/tiny'
  write.write(folder, [a_run(0)], AUTHOR)
  write.write(folder, [a_run(1, wrong=(2,)), a_run(2)])
  assert boards.problems(home, folder) == []
  run = json.loads((folder / 'metadata.json').read_text())['runs']['rte']
  assert run['seeds'] == [0, 1, 2]
  assert run['train']['seconds'] == pytest.approx(11.0)  # the mean of one seed
  assert run['train']['peak_memory_bytes'] == 10**9 + 2
  assert (folder / 'run.sh').read_text().count('python -m launch.train') == 3
  contribution = check.read(folder)
  parsed = check.load(contribution, registry.load(home))
  assert list(parsed['rte']) == [0, 1, 2]
  assert parsed['rte'][1].tolist() != parsed['rte'][0].tolist()


def test_what_does_not_fit_is_refused_before_anything_is_written(home):
  folder = home / 'contributions/tiny'
  with pytest.raises(ValueError, match='needs its authors and a contact'):
    write.write(folder, [a_run()])
  with pytest.raises(ValueError, match='no runs'):
    write.write(folder, [], AUTHOR)
  with pytest.raises(Refused, match="method '..' refused"):
    write.write(home / 'contributions/..', [a_run()], AUTHOR)
  with pytest.raises(Refused, match='expected http'):
    write.write(folder, [a_run()], Author(('A',), 'nobody'))
  with pytest.raises(ValueError, match='hold one twice'):
    write.write(folder, [a_run(0), a_run(0)], AUTHOR)
  other = a_run(1)
  other.rows[0]['label'] = 'not_entailment'
  with pytest.raises(ValueError, match='predicted different rows'):
    write.write(folder, [a_run(0), other], AUTHOR)
  assert not folder.exists()


def test_other_configs_and_other_rows_do_not_mix(home):
  folder = home / 'contributions/tiny'
  write.write(folder, [a_run(0)], AUTHOR)
  config = {'model': {'weights': ''}, 'seeds': [1]}
  with pytest.raises(ValueError, match='seeds of different configs'):
    write.write(folder, [a_run(1, config=config)])
  other = a_run(1)
  other.rows[0]['label'] = 'not_entailment'
  with pytest.raises(ValueError, match='other rows than the earlier seeds'):
    write.write(folder, [other])


def test_predictions_of_other_rows_are_refused_by_the_check(home):
  folder = home / 'contributions/tiny'
  run = a_run()
  run.rows[0]['label'] = 'not_entailment'
  write.write(folder, [run], AUTHOR)
  (problem,) = boards.problems(home, folder)
  assert 'metadata.json:1: rte: SHA-256' in problem
  assert 'other rows were predicted' in problem


@pytest.mark.parametrize(
  'fields, what',
  [
    ({'seeds': [0, 1]}, 'lists seeds'),
    ({'dataset': {'version': 'glue 1.0'}}, "was run on 'glue 1.0'"),
  ],
)
def test_metadata_that_contradicts_the_files_is_refused(home, fields, what):
  folder = home / 'contributions/tiny'
  write.write(folder, [a_run()], AUTHOR)
  metadata = json.loads((folder / 'metadata.json').read_text())
  metadata['runs']['rte'] |= fields
  boards.change(folder / 'metadata.json', runs=metadata['runs'])
  (problem,) = boards.problems(home, folder)
  assert what in problem
  metadata['runs'] = {'mrpc': metadata['runs']['rte']}
  boards.change(folder / 'metadata.json', runs=metadata['runs'])
  problems = boards.problems(home, folder)
  assert any('runs lacks rte' in line for line in problems)
  assert any("without predictions: ['mrpc']" in line for line in problems)


def test_runs_are_found_by_seed_and_a_missing_one_is_named(tmp_path):
  for seed in (0, 1):
    folder = tmp_path / f'rte/seed_{seed}'
    folder.mkdir(parents=True)
    (folder / 'run.json').write_text('{}')
    begun = {'config': {}, 'seed': seed}
    (folder / 'config.json').write_text(json.dumps(begun))
  runs = write.find_runs([tmp_path / 'rte'])
  assert [path.name for path in runs] == ['seed_0', 'seed_1']
  assert len(write.find_runs([tmp_path / 'rte'], 1)) == 1
  with pytest.raises(ValueError, match='no workdir of a run'):
    write.find_runs([tmp_path])
  (tmp_path / 'rte/seed_1/run.json').unlink()
  with pytest.raises(FileNotFoundError, match='seed_1/run.json is missing'):
    write.find_runs([tmp_path / 'rte'])


def test_entries_follow_the_task_records():
  entries = gold.entries(by_name.get('mnli'))
  assert [entry.name for entry in entries.values()] == [
    'mnli_matched',
    'mnli_mismatched',
  ]
  entry = gold.entries(by_name.get('mrpc'))['validation']
  assert entry.metrics == ('f1', 'accuracy') and entry.primary == 'f1'
  assert entry.boards == ('glue',) and entry.labels
  entry = gold.entries(by_name.get('stsb'))['validation']
  assert entry.kind == 'regression' and entry.primary == 'pearson'


def test_gold_is_made_from_data_and_read_back(tmp_path):
  made = gold.make(tmp_path, ['mini_acceptability', 'mini_entailment'])
  assert len(made.tasks) == 2
  for name, entry in made.tasks.items():
    labels = made.gold(name).labels
    assert len(labels) == entry.rows and set(labels) == set(
      range(len(entry.labels))
    )
