"""The static site: the same bytes for the same board, offline, escaped."""

import csv
import io
import json
import pathlib
import posixpath
import shutil

import pytest

from glue_jax.leaderboard import board as board_lib
from glue_jax.leaderboard import registry
from glue_jax.leaderboard.site import site
from glue_jax.leaderboard.site.tables import Cell, Column, Table
from tests.leaderboard import boards, markup


@pytest.fixture(scope='module')
def built(tmp_path_factory):
  """Four methods, one of them incomplete, on four tasks with two seeds."""
  folder = tmp_path_factory.mktemp('site')
  home = boards.make(folder / 'board', methods=4, tasks=4, seeds=2)
  boards.drop_task(home / 'contributions/method-3', 'task-3')
  board = board_lib.evaluate(home, folder / 'cache')
  assert not board.refused
  return folder, board


def texts(board, title='Leaderboard'):
  return dict(site.files(board, title))


def pages(board):
  files = texts(board)
  return {n: markup.Page(t) for n, t in files.items() if n.endswith('.html')}


def test_there_is_a_page_for_every_task_and_method(built):
  _, board = built
  files = texts(board)
  for name in ('index', 'about', 'refused'):
    assert f'{name}.html' in files
  for i in range(4):
    assert f'tasks/task-{i}.html' in files
    assert f'methods/method-{i}.html' in files
    assert f'tasks/task-{i}-methods.csv' in files
    assert f'methods/method-{i}-scores.json' in files


def test_a_rebuild_writes_nothing_and_removes_what_went(built, tmp_path):
  folder, board = built
  first = site.write(board, tmp_path / 'site')
  assert first['written'] > 20 and not first['kept']
  again = site.write(board, tmp_path / 'site')
  assert again == {'written': 0, 'kept': first['written'], 'removed': 0}
  fewer = board_lib.evaluate(
    folder / 'board', folder / 'cache', only=['method-0', 'method-1']
  )
  third = site.write(fewer, tmp_path / 'site')
  assert third['removed'] > 0
  left = {
    p.relative_to(tmp_path / 'site').as_posix()
    for p in (tmp_path / 'site').rglob('*')
    if p.is_file()
  }
  assert left == set(texts(fewer)) | {site.MANIFEST}


def test_folders_in_another_order_give_the_same_bytes(built, tmp_path):
  folder, board = built
  home = tmp_path / 'board'
  home.mkdir()
  for name in ('registry.json', 'gold'):
    source = folder / 'board' / name
    (shutil.copytree if source.is_dir() else shutil.copy)(source, home / name)
  for i in (2, 0, 3, 1):  # made in this order; read in the system's
    shutil.copytree(
      folder / f'board/contributions/method-{i}',
      home / f'contributions/method-{i}',
    )
  other = board_lib.evaluate(home, jobs=2)
  assert texts(other) == texts(board)


def test_every_link_leads_to_a_file_and_an_id(built):
  _, board = built
  files, read = texts(board), pages(board)
  count = 0
  for name, page in read.items():
    assert len(page.ids) == len(set(page.ids)), name
    for href, rel in page.links:
      if href.startswith('http'):
        assert rel == 'noopener noreferrer nofollow'
        continue
      path, _, anchor = href.partition('#')
      target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
      target = target if path else name
      assert target in files, (name, href)
      assert not anchor or anchor in read[target].ids, (name, href)
      count += 1
  assert count > 100


def test_nothing_is_loaded_from_elsewhere_or_written_inline(built):
  _, board = built
  for name, page in pages(board).items():
    for tag, key, value in page.attributes:
      assert not key.startswith('on') and key != 'style', (name, key)
      if key == 'src' or (tag == 'link' and key == 'href'):
        assert '://' not in value and not value.startswith('//')
    policy = [
      v for t, k, v in page.attributes if t == 'meta' and k == 'content'
    ]
    (policy,) = [v for v in policy if 'default-src' in v]
    assert "default-src 'none'" in policy and 'unsafe' not in policy
  for path in (pathlib.Path(site.__file__).parent / 'static').iterdir():
    text = path.read_text().replace('http://www.w3.org/2000/svg', '')
    assert '://' not in text, path
    for word in ('eval(', 'innerHTML', 'fetch(', 'XMLHttp', '@import', 'url('):
      assert word not in text, (path, word)


def test_plots_have_titles_and_descriptions(built):
  _, board = built
  count = 0
  for name, page in pages(board).items():
    labelled = [
      v for t, k, v in page.attributes if t == 'svg' and 'labelled' in k
    ]
    assert len(labelled) == page.tags.count('svg'), name
    for value in labelled:
      assert set(value.split()) <= set(page.ids)
    count += len(labelled)
  assert count >= 2 + 4 + 15  # scatters, bars, strips of seeds


def test_tables_are_sorted_by_score_without_javascript(built):
  _, board = built
  rows = json.loads(texts(board)['index-methods.json'])
  assert [row['method'] for row in rows] == ['method-0', 'method-1', 'method-2']
  assert [row['borda'] for row in rows] == [1, 2, 3]
  rows = json.loads(texts(board)['tasks/task-0-methods.json'])
  assert [row['method'] for row in rows] == [f'method-{i}' for i in range(4)]
  assert [row['place'] for row in rows] == [1, 2, 3, 4]
  rows = json.loads(texts(board)['index-incomplete.json'])
  assert [row['method'] for row in rows] == ['method-3']
  assert 'borda' not in rows[0]


def test_downloads_have_full_precision_and_costs(built):
  _, board = built
  files = texts(board)
  (first, *_) = csv.DictReader(io.StringIO(files['index-methods.csv']))
  cell = board.methods['method-0'].cells['task-0']
  assert float(first['task-0']) == 100 * cell.score
  assert first['task-0_spread'] == 'sd' and first['task-0_seeds'] == '2'
  assert first['params_trainable'] == '10000000'
  assert first['params_stored'] == '10000000'
  assert first['peak_memory'] == '1000000000'
  assert float(first['train_seconds']) == 400.0  # four tasks of 100 s
  page = markup.Page(files['index.html']).text
  for text in ('10M', '1 GB', '6 min 40 s'):
    assert text in page


def test_errors_as_scores_have_no_mean_and_stop_nothing(tmp_path):
  home = boards.make(tmp_path / 'board', methods=3, tasks=4)
  metrics = ['mean_squared_error', 'pearson']
  boards.change_task(home, 3, metrics=metrics, primary=metrics[0])
  board = board_lib.evaluate(home)
  rows = json.loads(texts(board)['index-methods.json'])
  assert [row['mean'] for row in rows] == [None] * 3
  errors = [row['task-3'] for row in rows]
  assert errors == sorted(errors) and rows[0]['borda'] == 1
  assert 'lower is better' in texts(board)['tasks/task-3.html']


def test_an_empty_board_is_a_site_too(tmp_path):
  home = boards.make(tmp_path / 'board')
  shutil.rmtree(home / 'contributions/method-0')
  files = texts(board_lib.evaluate(home))
  assert '0 methods on 1 task' in markup.Page(files['index.html']).text


def test_a_site_is_written_to_a_folder_of_its_own_only(built, tmp_path):
  folder, board = built
  with pytest.raises(ValueError, match='would be committed with the sources'):
    site.write(board, folder / 'board/site')
  (tmp_path / 'thesis.tex').write_text('x')
  with pytest.raises(ValueError, match='no manifest.txt, so it is no earlier'):
    site.write(board, tmp_path)
  assert (tmp_path / 'thesis.tex').read_text() == 'x'


def test_an_edited_manifest_deletes_nothing_outside(built, tmp_path):
  _, board = built
  (tmp_path / 'precious').write_text('x')
  site.write(board, tmp_path / 'site')
  manifest = tmp_path / 'site' / site.MANIFEST
  manifest.write_text(manifest.read_text() + '../precious\n')
  assert site.write(board, tmp_path / 'site')['removed'] == 0
  assert (tmp_path / 'precious').is_file()


def test_cells_are_safe_in_spreadsheets_and_in_html():
  columns = [Column('=a', 'A'), Column('b', 'B', numeric=True)]
  rows = [[Cell('x', '=1+1'), Cell('-1', -1.0)], [Cell('<b>&'), Cell('–')]]
  table = Table('t', 'T', columns, rows)
  assert table.csv() == "'=a,b\n'=1+1,-1.0\n<b>&,\n"
  assert json.loads(table.json())[1] == {'=a': '<b>&', 'b': None}
  assert not set('<>&') & set(table.json())


def test_the_registry_alone_says_what_is_hidden(tmp_path):
  home = boards.make(tmp_path / 'board', tasks=1)
  boards.change_task(home, gold=registry.HIDDEN)
  board = board_lib.evaluate(home)
  assert board.tasks == () and list(board.refused) == ['method-0']
  assert 'is hidden' in board.refused['method-0'][0]
  assert 'hidden gold' in texts(board)['index.html']
