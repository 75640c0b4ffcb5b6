"""Records: read with clear errors, drawn as tables, and the pages hold them."""

import json
import re

import pytest

from glue_jax.studies import records

FIGURE = {
  'row': 'RTE',
  'column': 'accuracy',
  'value': 0.58,
  'read': {'output': r'(\d+)'},
  'band': {'within': 0.02},
}
RECORD = {
  'name': 'one',
  'command': 'python -m a && python -m b',
  'measures': 'What it is.',
  'figures': [FIGURE],
  'seeds': [0, 1],
  'date': None,
  'device': 'CPU',
  'versions': {'jax': '0.10.2'},
  'minutes': None,
  'smoke': '--few && ',
  'remarks': '',
}


def write(folder, *entries):
  path = folder / 'records.json'
  path.write_text(json.dumps(entries))
  return path


def test_reads_a_record(tmp_path):
  (record,) = records.read(write(tmp_path, RECORD))
  assert record.commands() == ['python -m a', 'python -m b']
  assert record.smoke_commands() == ['python -m a --few', 'python -m b']
  assert record.figures[0].spread is None


@pytest.mark.parametrize(
  'change, message',
  [
    ({'colour': 1}, r"record 'one': unknown keys \['colour'\]"),
    ({'date': ...}, r"record 'one': keys \['date'\] are missing"),
    ({'smoke': ''}, "record 'one': smoke has ''; expected flags for each of"),
    ({'figures': []}, "record 'one': expected figures"),
    ({'figures': [FIGURE, FIGURE]}, 'expected figures, one a row and column'),
    (
      {'figures': [FIGURE | {'band': {'near': 1}}]},
      r"figure 'RTE' 'accuracy': band has \['near'\]",
    ),
    ({'figures': [FIGURE | {'valeu': 1}]}, r"unknown keys \['valeu'\]"),
  ],
)
def test_mistakes_are_named(tmp_path, change, message):
  entry = {k: v for k, v in (RECORD | change).items() if v is not ...}
  with pytest.raises(ValueError, match=message):
    records.read(write(tmp_path, entry))


def test_a_name_is_taken_once(tmp_path):
  with pytest.raises(ValueError, match=r"more than one record is called \['on"):
    records.read(write(tmp_path, RECORD, RECORD))


def test_cells_have_the_decimals_of_their_column():
  def figure(row, column, value, **more):
    return records.Figure(
      **(FIGURE | {'row': row, 'column': column, 'value': value} | more)
    )

  table = records.table(
    [
      figure('a', 'accuracy', 1.0, band={'at_least': 0.99}),
      figure('a', 'parameters', 30173),
      figure('b', 'accuracy', 0.998, spread=0.01, published=0.9),
    ]
  )
  assert table.splitlines() == [
    '| | accuracy | parameters |',
    '|---|---|---|',
    '| a | 1.000 (>= 0.99) | 30,173 |',
    '| b | 0.998 ± 0.010 (published 0.9) | - |',
  ]


@pytest.mark.parametrize(
  'value, text',
  [(5e-15, '5e-15'), (0.0005, '0.0005'), (2.0, '2'), (18.6, '18.6')],
)
def test_numbers(value, text):
  assert records.number(value) == text


def test_pages_are_rewritten_between_their_marks(tmp_path):
  known = {r.name: r for r in records.read(write(tmp_path, RECORD))}
  page = (
    'before\n<!-- record: one -->\nold\n<!-- end -->\nafter '
    '<!-- figure: one; RTE; accuracy -->0.1<!-- end -->.\n'
    '| a | <!-- figure: one; RTE; accuracy; 3 decimals --><!-- end --> |\n'
  )
  new = records.rewritten(page, known)
  assert new.startswith('before\n<!-- record: one -->\n\nWhat it is.\n\n| |')
  assert (
    '\n<!-- end -->\nafter <!-- figure: one; RTE; accuracy -->0.58<!' in new
  )
  assert new.endswith('; accuracy; 3 decimals -->0.580<!-- end --> |\n')
  assert 'old' not in new and 'date not recorded; CPU; jax 0.10.2' in new
  assert records.rewritten(new, known) == new
  for wrong in ('record: two -->\n', 'figure: one; RTE; loss -->'):
    with pytest.raises(ValueError, match='there (is|are) no'):
      records.rewritten(f'<!-- {wrong}<!-- end -->', known)


def test_every_page_holds_what_its_records_say():
  known = records.load()
  for path in records.pages():
    page = path.read_text()
    assert records.rewritten(page, known) == page, (
      f'{path}: run python -m launch.reproduce --write'
    )


def test_every_record_stands_on_its_page():
  for folder in records.FOLDERS:
    page = (records.ROOT / folder / records.PAGE).read_text()
    marks = records._RECORD.findall(page)
    shown = [name for _, names, _ in marks for name in names.split()]
    names = [
      r.name for r in records.read(records.ROOT / folder / 'records.json')
    ]
    assert sorted(shown) == sorted(names), folder


def test_headers_name_records_that_there_are():
  known, seen = records.load(), 0
  for path in sorted((records.ROOT / 'configs').rglob('*.py')):
    text = path.read_text()
    for names in re.findall(r'^Records: +((?:.+,\n)*.+)$', text, re.MULTILINE):
      for name in re.split(r',\s*', names):
        assert name in known, f'{path}: no record {name!r}'
        seen += 1
  assert seen > 30
