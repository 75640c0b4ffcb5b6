"""Own texts: formats by content or as asked, ids kept, one row a line."""

import gzip
import io
import json
import types

import pytest

from glue_jax.data import load
from glue_jax.data.tasks import by_name
from glue_jax.inference import own_texts

ONE, TWO = by_name.get('sst2'), by_name.get('rte')
ASK = by_name.get('squad_v1')
LINES = '{"sentence": "a, b", "id": 41}\n{"sentence": "c", "id": "x"}\n'


def read(tmp_path, content, task=ONE, name='texts.txt', style=None, **options):
  path = tmp_path / name
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  groups = own_texts.groups(str(path), task, style, **options)
  return [row for group in groups for row in group]


WITH_IDS = [{'sentence': 'a, b', 'idx': 41}, {'sentence': 'c', 'idx': 'x'}]


@pytest.mark.parametrize(
  'name, content, style',
  [
    ('a.jsonl', LINES, None),
    ('a.NDJSON', LINES, None),
    ('a.json', LINES, None),
    ('a.txt', LINES, None),
    ('a.jsonl.gz', gzip.compress(LINES.encode(), mtime=0), None),
    ('a.csv', LINES, 'jsonl'),
    ('a.json', f'[{LINES.strip()}]'.replace('}\n', '},\n'), None),
    ('a', f'[\n{LINES.strip()}]'.replace('}\n', '},\n'), None),
    ('a.csv', 'id,sentence\n41,"a, b"\nx,c\n', None),
    ('a', '\ufeffid,sentence,label\r\n41,"a, b",pos\r\nx,c,neg\r\n', None),
    ('a.txt', 'sentence\tidx\na, b\t41\nc\tx\n', None),
    ('a', f'\n\n{LINES}\n', None),
    ('a.csv', 'sentence\tidx\na, b\t41\nc\tx', 'tsv'),
  ],
)
def test_ids_are_kept_in_every_format(tmp_path, name, content, style):
  assert read(tmp_path, content, name=name, style=style) == WITH_IDS


@pytest.mark.parametrize(
  'content, task, rows',
  [
    ('a "q\tb\r\n\nc\n\n', ONE, ['a "q\tb', '', 'c', '']),
    ('sentence\na\tb\n', ONE, ['a\tb']),
    ('\ufeffzwei', ONE, ['zwei']),
    ('[note] {x}\n', ONE, ['[note] {x}']),
    ('a\tb\n\nc\t\n', TWO, ['a|b', '|', 'c|']),
    ('sentence2\tsentence1\nb\ta\n', TWO, ['a|b']),
    ('"sentence2"\t"sentence1"\n"b"\t"a ""x"""\n', TWO, ['a "x"|b']),
    ('a\rb\r\rc\r', ONE, ['a', 'b', '', 'c']),
    ('a\rb\nc\r\n', ONE, ['a\rb', 'c']),
  ],
)
def test_one_row_a_line(tmp_path, content, task, rows):
  found = read(tmp_path, content, task)
  assert ['|'.join(row[c] for c in task.columns) for row in found] == rows


def test_a_first_line_taken_as_the_header_is_said(tmp_path, caplog):
  assert read(tmp_path, 'sentence\na\n') == [{'sentence': 'a'}]
  assert "first line, 'sentence', is the name of the column" in caplog.text


def test_an_id_of_zero_is_an_id(tmp_path):
  for content in ('id,sentence\n7,a\n0,b\n,c\n', LINES.replace('41', '0')):
    rows = read(tmp_path, content)
    assert 0 in [row.get('idx') for row in rows]
  table = load.from_records(
    ONE, read(tmp_path, 'id,sentence\n0,a\n,b\n'), 'f', 5
  )
  assert [row['idx'] for row in table.rows] == [0, 6]


def test_text_as_asked_is_never_taken_for_another_format(tmp_path):
  found = read(tmp_path, 'sentence\n' + LINES, style='text')
  expected = ['sentence', *LINES.splitlines()]
  assert [row['sentence'] for row in found] == expected


@pytest.mark.parametrize(
  'name, content, task, message',
  [
    ('t.txt', 'a\tb\nc\n', TWO, 't.txt:2: 1 fields; rte expects 2'),
    ('t.txt', 'a\tb\tc\n', TWO, 't.txt:1: 3 fields'),
    ('t.txt', b'a\tb\n\xff\tc\n', TWO, 't.txt:2: invalid UTF-8'),
    ('t.txt', b'a\0\n', ONE, 't.txt:1: NUL'),
    ('t.txt', b'\xff\xfea\0', ONE, 'UTF-16'),
    ('t.txt', '', ONE, 't.txt is empty'),
    ('t.csv', 'sentence\n', ONE, 't.csv has no rows'),
    ('t.jsonl', '\n\n', ONE, 't.jsonl has no rows'),
    ('t.json', '[]', ONE, 'the array is empty'),
    ('t.txt', '{"text": "a"}\n', ONE, "t.txt:1: keys ['text'] lack sentence"),
    ('t.csv', 'text,label\na,b\n', ONE, "t.csv:1: columns 'text', 'label'"),
    ('t.csv', 'sentence,sentence\na,b\n', ONE, "'sentence' is there 2"),
    ('t.tsv', 'text\tlabel\na\tb\n', ONE, "t.tsv:1: 2 columns, 'text'"),
    ('t.csv', 'sentence,label\na\n', ONE, 't.csv:2: 1 columns, expected 2'),
    ('t.csv', 'sentence\n"a\n', ONE, 't.csv:2: unexpected end of data'),
    (
      't.txt',
      gzip.compress(b'a\n', mtime=0)[:-6],
      ONE,
      'not a whole gzip file',
    ),
  ],
)
def test_what_does_not_fit_is_named_by_line(
  tmp_path, name, content, task, message
):
  with pytest.raises(ValueError) as error:
    read(tmp_path, content, task, name)
  assert message in str(error.value)
  assert 'bad_rows' not in str(error.value)


def test_blank_json_lines_are_passed_over_and_counted(tmp_path, caplog):
  content = LINES.replace('\n', '\n\n \n', 1)
  assert read(tmp_path, content, name='t.jsonl') == WITH_IDS
  assert (
    't.jsonl: 2 blank lines' in caplog.text and 'line 2 first' in caplog.text
  )


@pytest.mark.parametrize(
  'fault, message',
  [('{"sentence": 5}', 'a number'), ('{"x": 1}', 'lack'), ('{', 'not JSON')],
)
def test_rows_before_a_fault_are_given(tmp_path, fault, message):
  path = tmp_path / 't.jsonl'
  path.write_text(LINES + fault + '\n' + LINES)
  groups = own_texts.groups(str(path), ONE)
  assert next(groups) == WITH_IDS
  with pytest.raises(ValueError, match=f't.jsonl:3: .*{message}'):
    next(groups)


def test_no_such_file_or_format(tmp_path):
  with pytest.raises(FileNotFoundError, match='none.txt does not exist'):
    list(own_texts.groups(str(tmp_path / 'none.txt'), ONE))
  with pytest.raises(ValueError, match="format 'xml'"):
    read(tmp_path, 'a', style='xml')


@pytest.mark.parametrize('name', ['a.json', 'a.jsonl', 'a.tsv'])
def test_questions(tmp_path, name):
  qa = {'id': 'q7', 'question': 'Who?'}
  part = {'context': 'See Ann.', 'qas': [qa]}
  content = {
    'a.json': json.dumps({'data': [{'paragraphs': [part]}]}, indent=1),
    'a.jsonl': json.dumps({**qa, 'context': 'See Ann.'}),
    'a.tsv': 'context\tquestion\tid\nSee Ann.\tWho?\tq7\n',
  }[name]
  rows = read(tmp_path, content, ASK, name)
  table = load.from_records(ASK, rows)
  assert [(r['id'], r['idx'], r['question']) for r in table.rows] == [
    ('q7', 'q7', 'Who?')
  ]
  with pytest.raises(ValueError, match="question id 'q7' occurs twice"):
    load.from_records(ASK, rows * 2)


@pytest.mark.parametrize('value', [5, None, ['a'], 'x\ud83d'])
def test_what_is_no_text_is_refused(value):
  with pytest.raises(ValueError, match="stdin:12: column 'sentence'"):
    load.from_records(ONE, [{'sentence': value}], 'stdin', 11)


class Pipe(io.RawIOBase):
  """Standard input whose lines come one after another."""

  def __init__(self, *parts):
    self.parts = list(parts)

  def readable(self):
    return True

  def readinto(self, buffer):
    part = self.parts.pop(0) if self.parts else b''
    buffer[: len(part)] = part
    return len(part)


def test_rows_are_given_as_soon_as_no_further_line_has_come(monkeypatch):
  pipe = Pipe(b'a\nb\n', b'c', b'd\ne\nf\n', b'g')
  stdin = types.SimpleNamespace(buffer=io.BufferedReader(pipe))
  monkeypatch.setattr(own_texts.sys, 'stdin', stdin)
  groups = own_texts.groups('-', ONE, size=2)
  found, left = [], []
  for group in groups:
    found.append(''.join(row['sentence'] for row in group))
    left.append(len(pipe.parts))
  assert found == ['ab', 'cde', 'f', 'g']
  assert left[0] == 3  # nothing was read ahead of an answer


def test_a_blank_line_holds_no_answer_back(monkeypatch):
  lines = LINES.encode().splitlines()
  pipe = Pipe(lines[0] + b'\n\n', lines[1] + b'\n')
  stdin = types.SimpleNamespace(buffer=io.BufferedReader(pipe))
  monkeypatch.setattr(own_texts.sys, 'stdin', stdin)
  assert next(own_texts.groups('-', ONE)) == WITH_IDS[:1]
  assert len(pipe.parts) == 1
