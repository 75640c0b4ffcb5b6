"""Gold and its registry: hidden, changed, doubled or wrong gold is named."""

import pytest

from glue_jax.leaderboard import registry
from glue_jax.leaderboard.safety import Refused
from tests.leaderboard import boards


@pytest.fixture
def board(tmp_path):
  return boards.make(tmp_path / 'board', tasks=4)


def test_what_was_written_is_read_back(board):
  read = registry.load(board)
  assert list(read.tasks) == ['task-0', 'task-1', 'task-2', 'task-3']
  entry = read.task('task-2')
  assert entry.labels == ('no', 'yes', 'maybe') and entry.rows == boards.ROWS
  assert entry.random_guessing == pytest.approx(1 / 3)
  gold = read.gold('task-2')
  assert list(gold.ids) == list(map(str, range(boards.ROWS)))
  assert gold.labels.shape == (boards.ROWS,)


def test_no_registry_says_how_to_make_one(tmp_path):
  with pytest.raises(FileNotFoundError, match='launch.leaderboard gold'):
    registry.load(tmp_path)


def test_gold_that_was_changed_is_refused(board):
  path = board / 'gold/task-0.jsonl'
  path.write_text(path.read_text().replace('"no"', '"yes"', 1))
  with pytest.raises(ValueError, match='task-0.jsonl:1: SHA-256 .* changed'):
    registry.load(board).gold('task-0')


def test_hidden_gold_names_the_registry_and_its_line(board):
  boards.change_task(board, 1, gold='hidden')
  line = (board / 'registry.json').read_text().split('"task-1"')[0].count('\n')
  with pytest.raises(
    ValueError, match=rf'registry.json:{line + 1}: the gold of task-1 is hidden'
  ):
    registry.load(board).gold('task-1')


@pytest.mark.parametrize(
  'line, what',
  [
    ('{"idx": 0, "label": "no"}', '2: id 0 occurs twice'),
    ('{"idx": "0", "label": "no"}', '2: id 0 occurs twice'),
    ('{"idx": 1, "label": -1}', '2: label -1 stands for a hidden one'),
    ('{"idx": 1, "label": null}', '2: label None stands for a hidden one'),
    ('{"idx": 1, "label": "maybe"}', "2: label 'maybe' is none of"),
    ('{"idx": 1}', '2: expected keys'),
    ('{"idx": 1, "label": "no", "x": 0}', '2: expected keys'),
    ('{"idx": 1, "label": ', '2: not JSON'),
    ('{"idx": 1, "label": "\udcff"}', '2: byte 0xFF'),
    ('', '1 rows; the registry has 2'),
  ],
)
def test_wrong_gold_is_named_with_file_and_line(line, what):
  entry = registry.Entry(
    't', '1', 'dev', 'classification', ('f1',), 'f1', ('no', 'yes'), rows=2
  )
  text = '{"idx": 0, "label": "no"}\n' + line
  data = text.encode(errors='surrogateescape')
  with pytest.raises(ValueError, match=f'g.jsonl:{what}|g.jsonl:1: {what}'):
    registry.parse_gold(entry, data, 'g.jsonl')


@pytest.mark.parametrize('label', ['"1"', 'true', 'NaN', '[1]'])
def test_gold_numbers_are_finite_numbers(label):
  entry = registry.Entry('t', '1', 'dev', 'regression', ('pearson',), 'pearson')
  data = f'{{"idx": 0, "label": {label}}}'.encode()
  with pytest.raises(ValueError, match='g:1: '):
    registry.parse_gold(entry, data, 'g')


@pytest.mark.parametrize(
  'fields, what',
  [
    ({'metrics': ['pearson'], 'primary': 'pearson'}, "metrics \\['pearson'\\]"),
    ({'primary': 'f1'}, "primary 'f1'"),
    ({'kind': 'ranking'}, "kind 'ranking'"),
    ({'labels': []}, 'labels'),
    ({'name': '../x'}, "task '../x' refused"),
    ({'gold': '../../secret'}, "part of gold '..' refused"),
    ({'gold': '/etc/passwd'}, 'part of gold'),
    ({'rule': 'squad_v1'}, "rule 'squad_v1'"),
    ({'best': 1}, "unknown keys \\['best'\\]"),
    ({'name': 'task-1'}, 'task task-1 occurs twice'),
  ],
)
def test_wrong_entries_are_named_with_their_line(board, fields, what):
  boards.change_task(board, **fields)
  with pytest.raises(ValueError, match=f'registry.json:[0-9]+: .*{what}'):
    registry.load(board)


def test_other_versions_and_unknown_tasks(board):
  with pytest.raises(Refused, match="unknown task 'x'; the registry has"):
    registry.load(board).task('x')
  (board / 'registry.json').write_text('{"schema_version": 2, "tasks": []}')
  with pytest.raises(ValueError, match='expected schema_version 1'):
    registry.load(board)
  (board / 'registry.json').write_text('{"schema_version": 1, "tasks": [1]}')
  with pytest.raises(ValueError, match='json:1: task 1; expected an object'):
    registry.load(board)


def test_groups_are_numbered_in_order(tmp_path):
  entry = registry.Entry(
    't', '1', 'dev', 'classification', ('exact_match',), 'exact_match',
    ('no', 'yes'),
  )  # fmt: skip
  rows = [{'idx': i, 'label': 'no', 'group': g} for i, g in enumerate('baab')]
  gold = registry.write(tmp_path, [entry], {'t': rows}).gold('t')
  assert gold.groups.tolist() == [0, 1, 1, 0]


def test_direction_belongs_to_the_registry():
  entry = registry.Entry(
    't', '1', 'dev', 'regression', ('mean_squared_error',), 'mean_squared_error'
  )
  assert not entry.higher_is_better
