"""launch.select_data: a selection as a command, on this machine and on Beam."""

import json
import re

import pytest

from launch import select_data
from tests.commands import run_command
from tests.data.selection.corpora import write_corpora

RENDERS = True


def command(folder, *arguments):
  names = 'raw0.txt', 'raw1.txt.gz', 'raw2.txt'
  raw = ','.join(str(folder / name) for name in names)
  targets = [f'--target={folder / f"target{i}.txt"}' for i in range(2)]
  options = '--min_length=4', '--buckets=499', '--laplace=0.1'
  return run_command(
    'select_data', f'--raw={raw}', *targets, *options, *arguments
  )


@pytest.fixture(scope='module')
def corpora(tmp_path_factory):
  return write_corpora(tmp_path_factory.mktemp('corpora'))


@pytest.fixture(scope='module')
def alone(corpora):
  done = command(corpora, '--k=30', f'--out={corpora / "alone"}')
  assert done.returncode == 0, done.stderr
  return corpora / 'alone', done.stdout


def test_texts_table_report_and_figure(alone):
  out, printed = alone
  names = ['documents.tsv', 'report.json', 'report.png', 'selected.txt']
  assert sorted(path.name for path in out.iterdir()) == names
  assert len((out / 'selected.txt').read_text().splitlines()) == 30
  report = json.loads((out / 'report.json').read_text())
  assert report['k'] == report['sets']['selected']['documents'] == 30
  gains = {name: row['kl_reduction'] for name, row in report['sets'].items()}
  assert gains['selected'] > gains['random']
  assert f'{gains["selected"]:.4f}' in printed
  assert (out / 'report.png').read_bytes().startswith(b'\x89PNG')


def test_beam_leaves_the_same(corpora, alone):
  pytest.importorskip('apache_beam', reason='needs the extra beam')
  out = corpora / 'beam'
  done = command(corpora, '--k=30', f'--out={out}', '--shards=2', '--beam')
  assert done.returncode == 0, done.stderr
  texts = b''.join(p.read_bytes() for p in sorted(out.glob('selected-*')))
  assert texts == (alone[0] / 'selected.txt').read_bytes()
  assert (out / 'report.png').read_bytes().startswith(b'\x89PNG')
  assert done.stdout.splitlines()[:-1] == alone[1].splitlines()[:-1]


@pytest.mark.parametrize(
  'arguments, message',
  [
    (['--k=180'], r'raw0.txt:1: k=180 is not below the \d+ valid documents'),
    (['--k=3', '--raw=nowhere'], 'nowhere: expected a file'),
    (['--k=3', '--shares=1,2'], '--shares goes with --separate_targets'),
    (['--k=3', '--fit=some'], '--fit=some; expected all, auto or a number'),
    (
      ['--k=3', '--separate_targets', '--shares=1,x'],
      "--shares: .*'x'; expected numbers",
    ),
    (['--k=3', '--', '--runner=X'], 'go with --beam'),
  ],
)
def test_errors_are_one_line(corpora, arguments, message):
  out = corpora / 'bad'
  done = command(corpora, f'--out={out}', *arguments)
  assert done.returncode == 2
  assert re.match(f'error: .*{message}', done.stderr), done.stderr
  assert done.stderr.count('\n') == 1 and not list(out.glob('*'))


def test_beam_knows_the_documented_flags():
  options = pytest.importorskip(
    'apache_beam.options.pipeline_options', reason='needs the extra beam'
  )
  text = select_data.__doc__.replace('\\\n', '')
  lines = re.findall(r'--beam -- (.*)', text)
  assert len(lines) == 4
  for line in lines:
    flags = line.split()
    names = {flag[2:].split('=')[0] for flag in flags}
    parsed = options.PipelineOptions(flags).get_all_options(drop_default=True)
    assert names <= set(parsed), line
