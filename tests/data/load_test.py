"""Opening splits: layouts, odd bytes, bad data with file and line."""

import gzip
import json

import pytest

from glue_jax.data import load
from glue_jax.data.readers import files as readers
from glue_jax.data.tasks import by_name

HEADER = 'index\tsentence1\tsentence2\tlabel\n'
ROWS = '0\tA cat sat.\tA cat.\tentailment\n1\tNo cat.\tA cat.\tnot_entailment\n'


def rte(tmp_path, data, split='train', name='train.tsv', **options):
  (tmp_path / 'RTE').mkdir(exist_ok=True)
  data = data.encode() if isinstance(data, str) else data
  (tmp_path / 'RTE' / name).write_bytes(data)
  return load.load(by_name.get('rte'), split, tmp_path, **options)


def test_tsv(tmp_path):
  table = rte(tmp_path, HEADER + ROWS)
  assert table.rows[1] == {
    'sentence1': 'No cat.',
    'sentence2': 'A cat.',
    'label': 1,
    'idx': 1,
  }
  assert table.labels().tolist() == [0, 1]
  assert 'official split has 2490' in table.notes[0]
  assert '2 rows' in table.notes[0]


@pytest.mark.parametrize(
  'data',
  [
    '\ufeff' + HEADER + ROWS,
    (HEADER + ROWS).replace('\n', '\r\n'),
    HEADER + ROWS + '\n\n',
    (HEADER + ROWS)[:-1],
  ],
  ids=['BOM', 'CRLF', 'blank end', 'no line end'],
)
def test_harmless_oddities(tmp_path, data):
  plain = rte(tmp_path, HEADER + ROWS)
  assert rte(tmp_path, data).rows == plain.rows


def test_quotes_are_data_in_tsv(tmp_path):
  data = HEADER + '7\tA "cat\t"A cat.\t0\n8\tb"\tc\t1\n'
  table = rte(tmp_path, data)
  assert [row['sentence1'] for row in table.rows] == ['A "cat', 'b"']
  assert [row['idx'] for row in table.rows] == [7, 8]


def test_a_header_in_quotes_is_that_of_a_quoted_table(tmp_path):
  cells = HEADER.strip().split('\t')
  quoted = '\t'.join(f'"{cell}"' for cell in cells)
  data = quoted + '\n7\t"a\tb"\t"c ""d"""\t"0"\n'
  (row,) = rte(tmp_path, data).rows
  assert (row['sentence1'], row['sentence2']) == ('a\tb', 'c "d"')
  # Under another header they are data, and a note says so.
  table = rte(tmp_path, HEADER + '7\t"a"\tb\t0\n8\t"c"\td\t1\n')
  assert [row['sentence1'] for row in table.rows] == ['"a"', '"c"']
  assert sum('every cell of column' in note for note in table.notes) == 1
  assert any("'sentence1' is in quotes" in note for note in table.notes)


def test_carriage_returns_end_lines_where_nothing_else_does(tmp_path):
  mac = HEADER.strip() + '\r0\ta\tb\t0\r1\tc\td\t1\r'
  rows = rte(tmp_path, mac).rows
  assert [row['sentence2'] for row in rows] == ['b', 'd']


def test_only_line_feeds_end_a_line(tmp_path):
  table = rte(tmp_path, HEADER + '0\ta\u2028b\tc\x85d\t0\n1\te\tf\t1\n')
  assert table.rows[0]['sentence1'] == 'a\u2028b'


BAD = {
  'too few columns': ('2\tA cat.\tentailment\n', 'RTE/train.tsv:4: 3 columns'),
  'too many columns': ('2\ta\tb\t0\tc\n', 'train.tsv:4: 5 columns, expected 4'),
  'unknown label': ('2\ta\tb\tmaybe\n', "train.tsv:4: unknown label 'maybe'"),
  'label -1': ('2\ta\tb\t-1\n', "train.tsv:4: label '-1' in split 'train'"),
  'no label': ('2\ta\tb\t\n', "train.tsv:4: label '' in split 'train'"),
  'NUL': ('2\ta\0\tb\t0\n', 'train.tsv:4: NUL character at byte 3'),
  'blank line': ('\n2\ta\tb\t0\n', 'train.tsv:4: blank line'),
  'duplicate id': ('1\ta\tb\t0\n', 'train.tsv:4: id 1 .* line 3'),
  'empty text': ('2\t \tb\t0\n', "train.tsv:4: column 'sentence1' is empty"),
}


@pytest.mark.parametrize('row, message', BAD.values(), ids=list(BAD))
def test_bad_row_is_named_or_dropped(tmp_path, row, message):
  data = HEADER + ROWS + row
  with pytest.raises(ValueError, match=message):
    rte(tmp_path, data)
  table = rte(tmp_path, data, bad_rows='drop')
  assert [row['idx'] for row in table.rows][:2] == [0, 1]
  note = next(note for note in table.notes if 'left out' in note)
  assert '1 bad rows' in note and 'line 4' in note


def test_invalid_utf8(tmp_path):
  data = (HEADER + ROWS).encode() + b'2\tcaf\xe9\tb\t0\n'
  with pytest.raises(ValueError, match=r'train.tsv:4: invalid UTF-8.*byte 5'):
    rte(tmp_path, data)


def test_utf16(tmp_path):
  with pytest.raises(ValueError, match='UTF-16'):
    rte(tmp_path, (HEADER + ROWS).encode('utf-16'))


@pytest.mark.parametrize(
  'data, message',
  [
    ('', 'train.tsv:1: the file is empty'),
    ('\ufeff\r\n', 'the file is empty'),
    (HEADER, 'train.tsv:1: only a header'),
    ('gj04\t1\t\tA sentence.\n', "expected a header with 'sentence1'"),
    (HEADER.replace('label', 'lable') + ROWS, "'lable' were found"),
  ],
)
def test_bad_files(tmp_path, data, message):
  with pytest.raises(ValueError, match=message):
    rte(tmp_path, data)


def test_long_line_is_kept_with_a_note(tmp_path):
  long = 'word ' * 250_000
  table = rte(tmp_path, HEADER + f'0\t{long}\tb\t0\n1\tc\td\t1\n')
  assert table.rows[0]['sentence1'] == long
  assert any('train.tsv:2' in n and '1250' in n for n in table.notes)


def test_missing_file_says_what_is_there(tmp_path):
  rte(tmp_path, HEADER + ROWS)
  with pytest.raises(FileNotFoundError, match=r'validation.*train\.tsv'):
    load.load(by_name.get('rte'), 'validation', tmp_path)
  with pytest.raises(FileNotFoundError, match='does not exist'):
    load.load(by_name.get('rte'), 'train', tmp_path / 'none')


def test_unknown_split(tmp_path):
  with pytest.raises(ValueError, match=r"no split 'dev'.*'validation'"):
    load.load(by_name.get('rte'), 'dev', tmp_path)


def test_several_files_for_a_split(tmp_path):
  (tmp_path / 'RTE').mkdir()
  (tmp_path / 'RTE' / 'train.jsonl').write_text('{}')
  with pytest.raises(ValueError, match='several files'):
    rte(tmp_path, HEADER + ROWS)
  table = rte(tmp_path, HEADER + ROWS, files={'train': 'train.tsv'})
  assert len(table) == 2


def test_data_folder_by_variable(tmp_path, monkeypatch):
  rte(tmp_path, HEADER + ROWS)
  monkeypatch.delenv(load.VARIABLE, raising=False)
  with pytest.raises(ValueError, match=load.VARIABLE):
    load.load(by_name.get('rte'), 'train')
  monkeypatch.setenv(load.VARIABLE, str(tmp_path))
  assert len(load.load(by_name.get('rte'), 'train')) == 2


def test_gzip_and_a_broken_one(tmp_path):
  packed = gzip.compress((HEADER + ROWS).encode())
  assert len(rte(tmp_path, packed, name='train.tsv.gz')) == 2
  with pytest.raises(ValueError, match='not a whole gzip file'):
    rte(tmp_path, packed[:-9], name='train.tsv.gz')


def test_hidden_labels(tmp_path):
  data = HEADER.replace('\tlabel', '') + '0\ta\tb\n1\tc\td\n'
  table = rte(tmp_path, data, split='test', name='test.tsv')
  assert not table.labelled
  with pytest.raises(ValueError, match="'test' of rte has no labels"):
    table.labels()
  half = HEADER + '0\ta\tb\t0\n1\tc\td\t-1\n'
  with pytest.raises(ValueError, match='test.tsv:3: no label here, but line 2'):
    rte(tmp_path, half, split='test', name='test.tsv')


def test_cola_has_no_header(tmp_path):
  (tmp_path / 'train.tsv').write_text('gj04\t1\t\tA b.\ngj04\t0\t*\tB a.\n')
  (tmp_path / 'test.tsv').write_text('index\tsentence\n0\tC d.\n')
  train = load.load(by_name.get('cola'), 'train', tmp_path)
  assert train.rows[1] == {'sentence': 'B a.', 'label': 0, 'idx': 1}
  assert load.load(by_name.get('cola'), 'test', tmp_path).rows[0]['idx'] == 0


def test_mnli_dev_has_other_columns_than_train(tmp_path):
  names = [f'c{i}' for i in range(8)] + ['sentence1', 'sentence2']
  texts = '\t'.join([*'abcdefgh', 'P.', 'H.'])
  train = names + ['label1', 'gold_label']
  (tmp_path / 'train.tsv').write_text(
    '\t'.join(train) + f'\n{texts}\tneutral\tcontradiction\n'
  )
  dev = names + [f'label{i}' for i in range(1, 6)] + ['gold_label']
  (tmp_path / 'dev_mismatched.tsv').write_text(
    '\t'.join(dev) + f'\n{texts}' + '\tneutral' * 5 + '\tentailment\n'
  )
  mnli = by_name.get('mnli')
  assert load.load(mnli, 'train', tmp_path).rows[0]['label'] == 2
  row = load.load(mnli, 'validation_mismatched', tmp_path).rows[0]
  assert (row['premise'], row['hypothesis'], row['label']) == ('P.', 'H.', 0)


def test_scores(tmp_path):
  header = '\t'.join('abcdefg') + '\tsentence1\tsentence2\tscore\n'
  row = '\t'.join('1234567') + '\tA.\tB.\t'
  (tmp_path / 'train.tsv').write_text(header + row + '3.800\n')
  task = by_name.get('stsb')
  table = load.load(task, 'train', tmp_path)
  assert table.labels().dtype == 'float32'
  assert table.rows[0]['label'] == 3.8
  for bad in ('5.2', 'nan', 'high'):
    (tmp_path / 'train.tsv').write_text(header + row + bad + '\n')
    with pytest.raises(ValueError, match=r'train.tsv:2: .*label'):
      load.load(task, 'train', tmp_path)


OWN = by_name.make(
  'mine', kind='classification', columns='text', label='y', labels='no,yes'
)


def own(tmp_path, name, data, **options):
  (tmp_path / name).write_text(data)
  files = {'train': name}
  return load.load(OWN, 'train', tmp_path, files=files, **options)


def test_csv(tmp_path):
  table = own(tmp_path, 'a.csv', 'y,text\nyes,"one, ""two""\nlines"\nno,b\n')
  assert [row['text'] for row in table.rows] == ['one, "two"\nlines', 'b']
  assert table.labels().tolist() == [1, 0]


@pytest.mark.parametrize(
  'data, message',
  [
    ('y,text\nyes,a\nno,"b"c\n', "a.csv:3: ',' expected after"),
    ('y,text\nyes,a\nno,"b\n', 'a.csv:3: unexpected end'),
    ('y,text\nyes,a,b\n', 'a.csv:2: 3 columns, expected 2'),
    ('y,text\n', 'only a header'),
    ('z,text\nyes,a\n', "'z', 'text' were found"),
  ],
)
def test_bad_csv(tmp_path, data, message):
  with pytest.raises(ValueError, match=message):
    own(tmp_path, 'a.csv', data)


def test_jsonl(tmp_path):
  rows = [{'text': 'a', 'y': 'yes', 'idx': 5}, {'text': 'b', 'y': 0, 'idx': 9}]
  data = ''.join(json.dumps(row) + '\n' for row in rows)
  table = own(tmp_path, 'a.jsonl', data)
  assert [row['idx'] for row in table.rows] == [5, 9]
  assert table.labels().tolist() == [1, 0]


@pytest.mark.parametrize(
  'line, message',
  [
    ('{"text": "a"', 'a.jsonl:2: not JSON at character 12'),
    ('[1]', 'a.jsonl:2: a list .* found, expected an object'),
    ('{"text": "a"}', 'a.jsonl:2: .* lack y'),
    ('{"text": 3, "y": 0}', "a.jsonl:2: column 'text'"),
    ('{"text": "a", "y": null}', 'a.jsonl:2: label None'),
  ],
)
def test_bad_jsonl(tmp_path, line, message):
  good = '{"text": "c", "y": 1}\n'
  with pytest.raises(ValueError, match=message):
    own(tmp_path, 'a.jsonl', good + line + '\n')
  assert len(own(tmp_path, 'a.jsonl', good + line, bad_rows='drop')) == 1


def test_unknown_ending(tmp_path):
  with pytest.raises(ValueError, match='no reader for'):
    own(tmp_path, 'a.xlsx', 'x')
  with pytest.raises(ValueError, match="bad_rows='skip'"):
    own(tmp_path, 'a.csv', 'y,text\nyes,a\n', bad_rows='skip')


def test_tags_and_choices(tmp_path):
  tags = by_name.make(
    'ner', kind='token_classification', columns='words', labels='O,B'
  )
  path = tmp_path / 'train.jsonl'
  path.write_text('{"words": ["a", "b"], "label": ["B", "O"]}\n')
  assert load.load(tags, 'train', tmp_path).labels().tolist() == [[1, 0]]
  path.write_text('{"words": ["a", "b"], "label": ["B"]}\n')
  with pytest.raises(ValueError, match='train.jsonl:1: 1 labels for 2 tokens'):
    load.load(tags, 'train', tmp_path)
  choice = by_name.make(
    'choice', kind='multiple_choice', columns='premise,a,b', choices='a,b'
  )
  path.write_text('{"premise": "p", "a": "x", "b": "y", "label": 1}\n')
  assert load.load(choice, 'train', tmp_path).rows[0]['label'] == 1
  path.write_text('{"premise": "p", "a": "x", "b": "y", "label": 2}\n')
  with pytest.raises(ValueError, match='unknown label 2; expected 0 to 1'):
    load.load(choice, 'train', tmp_path)


def squad_file(**changes):
  question = {
    'id': 'q1',
    'question': 'Who?',
    'answers': [{'text': 'Ann', 'answer_start': 4}],
  }
  part = {'context': 'It, Ann.', 'qas': [{**question, **changes}]}
  part['context'] = 'See Ann.'
  return {'version': '1.1', 'data': [{'title': 'T', 'paragraphs': [part]}]}


def test_squad(tmp_path):
  task, path = by_name.get('squad_v1'), tmp_path / 'train-v1.1.json'
  path.write_text(json.dumps(squad_file()))
  row = load.load(task, 'train', tmp_path).rows[0]
  assert row['answers'] == {'text': ['Ann'], 'answer_start': [4]}
  assert (row['id'], row['title'], row['is_impossible']) == ('q1', 'T', False)
  wrong = [{'text': 'Ann', 'answer_start': 3}]
  path.write_text(json.dumps(squad_file(answers=wrong)))
  with pytest.raises(ValueError, match="q1: the context has ' An' at 3"):
    load.load(task, 'train', tmp_path)
  path.write_text('{"data": [{}]}')
  with pytest.raises(ValueError, match='not in the SQuAD layout'):
    load.load(task, 'train', tmp_path)
  twice = squad_file()
  twice['data'].append(twice['data'][0])
  path.write_text(json.dumps(twice))
  with pytest.raises(ValueError, match="id 'q1' was already used"):
    load.load(task, 'train', tmp_path)


def test_fingerprint_follows_the_rows(tmp_path):
  one = rte(tmp_path, HEADER + ROWS).fingerprint
  assert rte(tmp_path, '\ufeff' + HEADER + ROWS).fingerprint == one
  assert rte(tmp_path, HEADER + ROWS.replace('No', 'A')).fingerprint != one


def test_own_records():
  task = by_name.get('rte')
  rows = [{'sentence1': 'a', 'sentence2': 'b'}]
  table = load.from_records(task, rows)
  assert (len(table), table.labelled) == (1, False)
  with pytest.raises(ValueError, match='stdin:1: .* lack sentence2'):
    load.from_records(task, [{'sentence1': 'a'}], 'stdin')


def test_csv_limit_is_put_back(tmp_path):
  own(tmp_path, 'a.csv', f'y,text\nyes,{"a" * 200_000}\n')
  assert readers.csv.field_size_limit() == 131072


COUNTS = {
  ('cola', 'train'): 8551,
  ('mrpc', 'train'): 3668,
  ('stsb', 'test'): 1379,
  ('sst2', 'train'): 67349,
  ('qnli', 'validation'): 5463,
  ('mnli', 'validation_matched'): 9815,
  ('ax', 'test'): 1104,
}


@pytest.mark.parametrize('name, split', COUNTS, ids=lambda value: value)
def test_real_files_have_the_official_rows(shared, name, split):
  table = load.load(by_name.get(name), split, shared / 'data')
  assert len(table) == COUNTS[name, split]
  assert table.notes == ()


def test_of_two_ids_one_is_left_out_with_a_note(tmp_path):
  path = tmp_path / 'train.jsonl'
  row = {'sentence': 'a', 'label': 0, 'idx': 7, 'id': 'x'}
  path.write_text(json.dumps(row) + '\n')
  table = load.load(by_name.get('cola'), 'train', tmp_path)
  assert table.rows[0]['idx'] == 7
  assert any('both idx and id' in note for note in table.notes)
