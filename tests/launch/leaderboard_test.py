"""python -m launch.leaderboard, from a run to the site; its exit statuses."""

import json
import pathlib
import shutil

import pytest

from glue_jax.training import runs
from tests.commands import run_command
from tests.conftest import tiny_config
from tests.leaderboard import boards

AUTHOR = ('--authors=A. Nobody,B. Nobody', '--contact=nobody@example.org')


@pytest.fixture(scope='module')
def home(tmp_path_factory):
  """A board with a run of seconds, contributed from its model."""
  folder = tmp_path_factory.mktemp('leaderboard')
  runs.run(tiny_config(train=dict(epochs=1)), folder / 'run')
  board = folder / 'board'
  done = run_command(
    'leaderboard', 'gold', f'--board={board}', '--tasks=mini_acceptability'
  )
  assert done.returncode == 0, done.stderr
  assert 'mini_acceptability: 500 rows' in done.stdout
  done = run_command(
    'predict',
    f'--workdir={folder / "run"}',
    '--split=validation',
    f'--contribution={board / "contributions/tiny"}',
    *AUTHOR,
  )
  assert done.returncode == 0, done.stderr
  return folder


def test_predict_writes_a_contribution_that_passes(home):
  board, folder = home / 'board', home / 'board/contributions/tiny'
  names = {p.name for p in folder.iterdir()}
  assert names == {'metadata.json', 'run.sh', 'mini_acceptability'}
  done = run_command('leaderboard', 'check', f'--board={board}', folder)
  assert (done.returncode, done.stderr) == (0, '')
  assert done.stdout == f'{folder}: ok, 1 tasks\n'
  metadata = json.loads((folder / 'metadata.json').read_text())
  run = json.loads((home / 'run/run.json').read_text())
  part = metadata['runs']['mini_acceptability']
  assert metadata['authors'] == ['A. Nobody', 'B. Nobody']
  assert part['params_total'] == run['parameters'] > 0
  assert part['train']['seconds'] == pytest.approx(run['seconds'], abs=1e-3)
  assert part['train']['peak_memory_bytes'] > 10**7


def test_scores_and_site_come_from_the_predictions(home, tmp_path):
  board = tmp_path / 'board'
  shutil.copytree(home / 'board', board)
  part = board / 'contributions/tiny/mini_acceptability'
  (path,) = part.rglob('predictions.jsonl')
  given = {r['idx']: r['prediction'] for r in rows(path)}
  gold = {
    r['idx']: r['label'] for r in rows(board / 'gold' / f'{part.name}.jsonl')
  }
  right = sum(given[i] == label for i, label in gold.items())
  done = run_command('leaderboard', 'score', f'--board={board}', '--jobs=1')
  assert done.returncode == 0, done.stderr
  shown = f'{100 * right / len(gold):.2f}'
  assert 'accuracy' in done.stdout and shown in done.stdout
  site = tmp_path / 'site'
  build = (f'--board={board}', f'--out={site}', '--jobs=1')
  done = run_command('leaderboard', 'build', *build)
  assert done.returncode == 0, done.stderr
  assert '1 methods (0 scored now), 0 refused' in done.stdout
  assert shown in (site / 'index.html').read_text()
  (board / 'contributions/bad').mkdir()
  done = run_command('leaderboard', 'build', *build)
  assert done.returncode == 1
  assert 'refused bad:' in done.stdout and '1 refused' in done.stdout
  assert shown in (site / 'index.html').read_text()


def rows(path):
  return list(map(json.loads, pathlib.Path(path).read_text().splitlines()))


def test_two_methods_are_compared(tmp_path):
  board = boards.make(tmp_path, methods=2, tasks=1, rows=50)
  done = run_command(
    'leaderboard',
    'score',
    f'--board={board}',
    '--compare=method-0,method-1',
    '--jobs=1',
  )
  assert done.returncode == 0, done.stderr
  head, _, row = done.stdout.splitlines()
  cells = dict(zip(head.split(), row.split()))
  assert float(cells['mcnemar']) <= 1
  assert float(cells['difference']) == pytest.approx((25 - 12) / 50)


@pytest.mark.parametrize(
  'flags, what',
  [
    ((), 'expected one of gold, contribute'),
    (('sell',), "found 'sell'"),
    (('check',), 'check needs --board'),
    (('build', '--board=x'), 'build needs --out'),
    (('build', '--board=x', '--out=y', 'z'), "unexpected arguments ['z']"),
    (('build', '--board=nowhere', '--out=y'), 'registry.json is missing'),
    (('score', '--board=x', '--compare=a'), '--compare takes two methods'),
    (('gold', '--board=x', '--tasks=nope'), 'nope'),
    (
      ('reproduce', '--board=x', '--method=../x', '--image=i', '--out=o'),
      "--method '../x' refused",
    ),
  ],
)
def test_wrong_usage_is_one_clear_message(flags, what):
  done = run_command('leaderboard', *flags)
  assert done.returncode == 2
  assert what in done.stdout + done.stderr
  assert 'Traceback' not in done.stderr


def test_contribute_takes_finished_runs(home, tmp_path):
  board = tmp_path / 'board'
  shutil.copytree(home / 'board', board)
  flags = (f'--board={board}', '--method=again', f'--runs={home / "run"}')
  done = run_command('leaderboard', 'contribute', *flags)
  assert done.returncode == 2 and 'needs its authors' in done.stderr
  done = run_command('leaderboard', 'contribute', *flags, *AUTHOR)
  # Training looked at 32 of 500 examples only: that is no score.
  assert done.returncode == 1
  assert '468 of 500 ids missing' in done.stdout or 'SHA-256' in done.stdout


def test_reproduce_asks_first(home, tmp_path):
  done = run_command(
    'leaderboard',
    'reproduce',
    f'--board={home / "board"}',
    '--method=tiny',
    '--image=none',
    f'--out={tmp_path / "out"}',
  )
  assert done.returncode == 2
  assert "a stranger's code" in done.stderr and '--allow' in done.stderr
