"""python -m launch.data: what it prints, and its exit code."""

import functools
import json

from tests.commands import run_command

command = functools.partial(run_command, 'data')


def write_rte(folder, dev_label='entailment'):
  header = 'index\tsentence1\tsentence2\tlabel\n'
  rows = [f'{i}\tA{i % 4}.\tB.\tentailment\n' for i in range(6)]
  (folder / 'train.tsv').write_text(header + ''.join(rows))
  (folder / 'dev.tsv').write_text(f'{header}0\tA1.\tB.\t{dev_label}\n')


def test_check_counts_and_duplicates(tmp_path):
  write_rte(tmp_path)
  splits = '--splits=train,validation'
  done = command('check', '--task=rte', f'--data_dir={tmp_path}', splits)
  assert done.returncode == 0, done.stderr
  for text in (
    'ok       train: 6 rows, labelled, tsv',
    "6 rows in split 'train' of rte, the official split has 2490",
    'train: 2 rows repeat the text of another row (rows 0 and 4',
    'validation: 1 rows have a text that is also in train (first: row 0, '
    f'{tmp_path}/dev.tsv:2 is {tmp_path}/train.tsv:3)',
    'train: no row of',
    'ok       train: 6 sequences of at most 7 tokens',
    '2 splits read, 0 errors',
  ):
    assert text in done.stdout


def test_check_finds_what_only_tokenizing_can(tmp_path):
  """An answer of which this tokenizer makes no token."""
  answer = {'text': '\u0301\u0302', 'answer_start': 4}  # accents, stripped
  qa = {'id': 'q7', 'question': 'Who?', 'answers': [answer]}
  part = {'context': 'See \u0301\u0302 .', 'qas': [qa]}
  content = {'data': [{'paragraphs': [part]}]}
  for name in ('train', 'dev'):
    (tmp_path / f'{name}.json').write_text(json.dumps(content))
  done = command('check', '--task=squad_v1', f'--data_dir={tmp_path}')
  assert done.returncode == 1
  assert 'question q7: the tokenizer makes no token of its' in done.stdout
  assert '2 splits read, 2 errors' in done.stdout


def test_check_fails_on_errors(tmp_path):
  write_rte(tmp_path, dev_label='perhaps')
  done = command('check', '--task=rte', f'--data_dir={tmp_path}')
  assert done.returncode == 1
  assert "dev.tsv:2: unknown label 'perhaps'" in done.stdout
  assert 'ERROR    test: no file for split' in done.stdout
  assert '1 splits read, 2 errors' in done.stdout


def test_describe_own_task(tmp_path):
  text = 'text,y\n' + 'a good day,yes\n' * 3 + f'{"long " * 20},no\n'
  (tmp_path / 'a.csv').write_text(text)
  done = command(
    'describe',
    '--task=mine',
    '--kind=classification',
    '--columns=text',
    '--labels=no,yes',
    '--label=y',
    f'--files=train={tmp_path / "a.csv"}',
  )
  assert done.returncode == 0, done.stderr
  assert 'no 1 (25.0%), yes 3 (75.0%)' in done.stdout
  assert 'median 3, 95% below 17, longest 20' in done.stdout
  assert "'text': 'a good day'" in done.stdout


def test_mistakes_in_the_command():
  assert command('look', '--task=rte').returncode == 2
  done = command('check', '--task=nothing')
  assert done.returncode == 2 and 'known tasks: cola' in done.stderr
  done = command('prepare', '--data_dir=x')
  assert done.returncode == 2 and '--task' in done.stderr


def test_baseline_learns_from_train_and_scores_the_rest(tmp_path):
  text = 'text,y\n' + 'a good day,yes\n' * 6 + 'a bad day,no\n' * 4
  (tmp_path / 'a.csv').write_text(text)
  (tmp_path / 'b.csv').write_text('text,y\ngood,yes\nbad,no\n')
  own = ('--task=own', '--kind=classification', '--columns=text')
  own += ('--labels=no,yes', '--label=y')
  files = f'--files=train={tmp_path}/a.csv,validation={tmp_path}/b.csv'
  done = command('baseline', *own, files)
  assert done.returncode == 0, done.stderr
  assert [line.split() for line in done.stdout.splitlines()[2:]] == [
    ['validation', 'majority', '0.5000'],
    ['validation', 'bag', 'of', 'words', '1.0000'],
  ]
  done = command('baseline', *own, f'--files=train={tmp_path}/a.csv')
  assert done.returncode == 2
  assert 'own: no labelled split beside train' in done.stderr
