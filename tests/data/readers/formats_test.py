"""The declared format wins; else ending, in any case, and content."""

import gzip

import pytest

from glue_jax.data import load
from glue_jax.data.readers import formats
from glue_jax.data.tasks import by_name

YAML = """\
name: mine
dataset: {dataset}
columns: {{text: text}}
kind: classification
label_names: [a, b]
"""
LINES = '{"text": "x", "label": "a"}\n{"text": "y", "label": "b"}\n'
ARRAY = '[{"text": "x", "label": "a"},\n{"text": "y", "label": "b"}]'
CSV = 'text,label\nx,a\ny,b\n'
TSV = CSV.replace(',', '\t')


def own(tmp_path, dataset):
  (tmp_path / 'task.yaml').write_text(YAML.format(dataset=dataset))
  task = by_name.make(str(tmp_path / 'task.yaml'), cuts={})
  return load.load(task, 'train')


@pytest.mark.parametrize(
  'declared, name, content, format_',
  [
    ('jsonl', 'train.json', LINES, 'jsonl'),
    ('jsonl', 'train.ndjson', LINES, 'jsonl'),
    ('jsonl', 'rows.csv', LINES, 'jsonl'),
    ('json', 'train.json', ARRAY, 'array'),
    ('json', 'train.txt', ARRAY, 'array'),
    ('json', 'train.json', LINES, 'jsonl'),
    ('csv', 'train.txt', CSV, 'csv'),
    ('csv', 'train.tsv', CSV, 'csv'),
    ('csv', 'TRAIN.CSV', CSV, 'csv'),
    ('csv', 'no ending', CSV, 'csv'),
    ('tsv', 'train.csv', TSV, 'tsv'),
    ('tsv', 'train.tab', TSV, 'tsv'),
  ],
)
def test_the_declared_format_wins(tmp_path, declared, name, content, format_):
  for data in (content.encode(), gzip.compress(content.encode())):
    (tmp_path / name).write_bytes(data)
    table = own(tmp_path, f'{declared}:{name}')
    assert table.format == format_
    assert [(r['text'], r['label']) for r in table.rows] == [('x', 0), ('y', 1)]


def test_a_folder_has_endings_in_any_case(tmp_path):
  (tmp_path / 'd').mkdir()
  (tmp_path / 'd' / 'train.CSV.GZ').write_bytes(gzip.compress(CSV.encode()))
  assert len(own(tmp_path, 'csv:d')) == 2


@pytest.mark.parametrize(
  'name, format_',
  [
    ('a.JSONL', 'jsonl'),
    ('a.Csv.gz', 'csv'),
    ('a.TXT', 'tsv'),
    ('a.bio', 'conll'),
    ('a.PARQUET', 'parquet'),
    ('a.feather', 'arrow'),
    ('a.xlsx', ''),
  ],
)
def test_endings_in_any_case(name, format_):
  assert formats.by_ending(name) == format_


def test_content_tells_an_array_from_lines(tmp_path):
  task = by_name.make(
    'mine', kind='classification', columns='text', labels='a,b'
  )
  for content in (LINES, ARRAY, f'\ufeff\n{ARRAY}'):
    (tmp_path / 'train.json').write_text(content)
    assert len(load.load(task, 'train', tmp_path)) == 2


def test_a_column_that_is_there_twice_is_refused(tmp_path):
  (tmp_path / 'a.csv').write_text('text,label,text\nx,a,y\n')
  with pytest.raises(ValueError, match="column 'text' is there 2 times"):
    own(tmp_path, 'csv:a.csv')


def test_a_squad_file_has_its_own_columns(tmp_path):
  (tmp_path / 'a.json').write_text('{}')
  text = YAML.format(dataset='squad:a.json')
  (tmp_path / 'task.yaml').write_text(text)
  with pytest.raises(ValueError, match=r'task.yaml:3: columns.*\{question'):
    by_name.make(str(tmp_path / 'task.yaml'))
