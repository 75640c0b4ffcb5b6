"""Hostile contributions beside a good one: a build shows both for what it is.

One sample at least for each rule, placed as it would be in a pull request and
taken through the whole way: evaluate, write the site, read it. The rules one
by one are tested where they stand (safety, sources, schema, predictions).
"""

import csv
import io
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from glue_jax.leaderboard import board as board_lib
from glue_jax.leaderboard.contribution import predictions
from glue_jax.leaderboard.site import site
from tests.leaderboard import boards, markup

EVIL = '<img src=x onerror=alert(1)>'


def _rows(count=boards.ROWS, label='no'):
  return [(i, label) for i in range(count)]


def _write(name, text):
  def change(path):
    part = path / name
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(text if isinstance(text, bytes) else text.encode())

  return change


def _link(path):
  (path / 'task-0/predictions.jsonl').unlink()
  (path / 'task-0/predictions.jsonl').symlink_to('/etc/passwd')


def _bare(path):
  for task in path.glob('task-*'):
    shutil.rmtree(task)


def _metadata(**fields):
  return lambda path: boards.change(path / 'metadata.json', **fields)


def _zipped(write):
  """Replaces the folder by a zip that `write(folder, zip's path)` makes."""

  def change(path):
    write(path, path.with_suffix('.zip'))
    shutil.rmtree(path)

  return change


def _nested(path, target):
  boards.as_zip(path, path / 'inner.zip')
  boards.as_zip(path, target)


def _spare(path):
  # Named so that it can be made on any file system that takes bytes.
  (pathlib.Path(os.fsdecode(bytes(path) + b'/\xff\x1b[2J'))).write_text('x')


P = 'task-0/predictions.jsonl'
SAMPLES = {
  'bomb': (
    _zipped(lambda f, zip: boards.overlapping_bomb(zip, 64, 1 << 22)),
    'members overlap',
  ),
  'nested': (_zipped(_nested), 'an archive inside an archive'),
  'not-a-zip': (_zipped(lambda f, zip: zip.write_text('x')), 'no zip'),
  'symlink': (_link, 'symbolic link'),
  'pipe': (lambda p: os.mkfifo(p / 'x'), 'neither file nor folder'),
  'deep': (_write('a/b/c/d/e/f', 'x'), 'folders deep'),
  'extra-file': (_write('model.pkl', b'cos\nsystem\n'), 'unexpected file'),
  'python': (_write('task-0/__init__.py', '1/0'), 'unexpected file'),
  'raw-name': (_spare, 'unexpected file'),
  'no-metadata': (lambda p: (p / 'metadata.json').unlink(), 'no metadata'),
  'no-script': (lambda p: (p / 'run.sh').unlink(), 'no run.sh or config.py'),
  'no-task': (_bare, 'no <task>/predictions'),
  'large-json': (_write('metadata.json', b'"' + b'x' * 10**7), 'over 1000001'),
  'deep-json': (_write('metadata.json', '[' * 99999), 'deeper than 8'),
  'double-key': (_write('metadata.json', '{"a":1,"a":2}'), 'occurs twice'),
  'nan': (_write('metadata.json', '{"a":NaN}'), 'NaN is no JSON number'),
  'claimed-score': (_metadata(score=99.9), "unknown keys 'score'"),
  'other-name': (_metadata(method='good'), "but the folder is 'other-name'"),
  'script-link': (_metadata(paper='javascript:alert(1)'), 'expected http'),
  'bidi': (_metadata(description='\u202eevil'), 'U+202E'),
  'long-text': (_metadata(description='x' * 5000), '5000 characters'),
  'script-binary': (_write('run.sh', b'\x7fELF\x00'), 'U+'),
  'script-large': (_write('run.sh', 'x' * 65_537), 'over 65536 bytes'),
  'dropped': (_write(P, predictions.text(_rows()[:-1])), '1 of 12 ids missing'),
  'doubled': (_write(P, predictions.text(_rows() + _rows(1))), 'occurs twice'),
  'invented': (_write(P, predictions.text(_rows(13))), 'is not in the gold'),
  'wrong-label': (_write(P, predictions.text(_rows(label=EVIL))), 'label'),
  'empty': (_write(P, ''), '12 of 12 ids missing'),
  'not-utf8': (_write(P, b'\xff\n'), 'byte 0xFF is not UTF-8'),
  'long-line': (_write(P, b'x' * 10**7), 'line of 10000000 bytes'),
  'many-rows': (_write(P, b'\n' * 10**6), 'at most 25 allowed'),
  'other-task': (_write('x/predictions.jsonl', '{}'), "unknown task 'x'"),
  'hidden-task': (_write('task-2/predictions.jsonl', '{}'), 'is hidden'),
  'both-kinds': (_write('task-0/seeds/0/predictions.jsonl', '{}'), 'twice'),
}
NAMES = (EVIL, '..evil', 'a b', 'x' * 65, 'pay\u202epal', b'\xff\x1b[2J')


@pytest.fixture(scope='module')
def attacked(tmp_path_factory):
  """A board of one good method and all samples, built."""
  folder = tmp_path_factory.mktemp('hostile')
  home = boards.make(folder / 'board', tasks=3)
  boards.change_task(home, 2, gold='hidden')
  good = home / 'contributions/method-0'
  boards.drop_task(good, 'task-2')
  for name, (change, _) in SAMPLES.items():
    path = home / 'contributions' / name
    shutil.copytree(good, path)
    boards.change(path / 'metadata.json', method=name)
    change(path)
  for name in NAMES:
    raw = name if isinstance(name, bytes) else name.encode()
    os.mkdir(bytes(home) + b'/contributions/' + raw)
  (home / 'contributions/stray.txt').write_text('x')
  (home / 'contributions/link').symlink_to(good)
  (home / 'contributions/METHOD-0').mkdir()
  boards.as_zip(good, home / 'contributions/method-0.zip')
  boards.change(
    good / 'metadata.json',
    description=f'{EVIL}</p><script>alert(1)</script>',
    variant='"><script>alert(2)</script>',
    authors=["=cmd|' /C calc'!A0", EVIL],
    base_checkpoint='=HYPERLINK("http://evil.example")',
    packages={'</code><script>alert(3)</script>': '1'},
  )
  (good / 'run.sh').write_text(f'echo "{EVIL}" </code>\n')
  board = board_lib.evaluate(home, folder / 'cache')
  site.write(board, folder / 'site')
  return folder, board


def _text(folder):
  return {
    path.relative_to(folder).as_posix(): path.read_text()
    for path in (folder / 'site').rglob('*')
    if path.is_file()
  }


@pytest.mark.parametrize('name', SAMPLES)
def test_each_sample_is_refused_for_its_reason(attacked, name):
  _, board = attacked
  key = name if name in board.refused else f'{name}.zip'
  problems = board.refused[key]
  assert any(SAMPLES[name][1] in line for line in problems), problems
  for line in problems:
    assert line.isprintable() and len(line) < 1000
    assert f'contributions/{key}' in line


def test_names_that_are_no_plain_word_are_refused_and_shown_as_text(attacked):
  folder, board = attacked
  for name in (EVIL, '..evil', 'a b', 'x' * 65, r'pay\u202epal'):
    assert 'refused' in board.refused[name][0]
  assert r'\udcff\x1b[2J' in board.refused
  page = (folder / 'site/refused.html').read_text()
  assert '&lt;img src=x onerror=alert(1)&gt;' in page
  assert r'pay\u202epal' in page


def test_what_lies_beside_contributions_is_named(attacked):
  _, board = attacked
  assert 'neither a folder nor a .zip' in board.refused['stray.txt'][0]
  assert 'symbolic link' in board.refused['link'][0]
  assert 'method-0 has this name' in board.refused['method-0.zip'][0]


def test_the_good_method_stays_and_has_its_scores(attacked):
  folder, board = attacked
  assert list(board.methods) == ['method-0']
  assert 'no metadata.json' in '\n'.join(board.refused['METHOD-0'])
  assert sorted(board.methods['method-0'].cells) == ['task-0', 'task-1']
  assert board.tasks == ('task-0', 'task-1')  # task-2 is hidden
  assert (folder / 'site/methods/method-0.html').is_file()
  assert 'hidden gold' in (folder / 'site/index.html').read_text()


def test_nothing_of_a_contribution_becomes_markup(attacked):
  folder, _ = attacked
  pages = {n: t for n, t in _text(folder).items() if n.endswith('.html')}
  assert len(pages) > 4
  for name, text in pages.items():
    page = markup.Page(text)
    assert not {'img', 'iframe', 'object', 'style', 'base', 'form'} & set(
      page.tags
    ), name
    assert page.tags.count('script') == 1, name  # the site's own file
    for tag, key, value in page.attributes:
      assert not key.startswith('on') and key != 'style', (name, tag, key)
      if key in ('href', 'src'):
        assert ':' not in value or value.startswith('https://'), (name, value)
    for character in '\u202e\x1b\x00\x7f':
      assert character not in text, name
  page = markup.Page(pages['site/methods/method-0.html'])
  assert f'{EVIL}</p><script>alert(1)</script>' in page.text
  assert f'echo "{EVIL}" </code>' in page.text


def test_no_cell_of_a_download_is_a_formula(attacked):
  folder, _ = attacked
  for name, text in _text(folder).items():
    if name.endswith('.csv'):
      for row in csv.reader(io.StringIO(text)):
        assert not any(
          cell[:1] in ('=', '+', '@') or (cell[:1] == '-' and not _number(cell))
          for cell in row
        ), (name, row)
    if name.endswith('.json'):
      assert not set('<>&') & set(text), name


def _number(cell):
  try:
    return bool(float(cell)) or True
  except ValueError:
    return False


def test_a_build_leaves_nothing_behind_where_attackers_point(attacked):
  folder, _ = attacked
  assert sorted(p.name for p in folder.iterdir()) == ['board', 'cache', 'site']


def test_check_prints_one_line_a_problem_and_exits_1(attacked):
  folder, board = attacked
  paths = [
    str(folder / 'board/contributions' / name) for name in ('dropped', 'bidi')
  ]
  command = [sys.executable, '-m', 'launch.leaderboard', 'check']
  done = subprocess.run(
    [*command, f'--board={folder / "board"}', *paths],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 1
  lines = done.stdout.splitlines()
  assert len(lines) == 2 and not done.stderr
  assert 'dropped/task-0/predictions.jsonl:11: 1 of 12 ids' in lines[0]
  assert 'bidi/metadata.json:' in lines[1]
