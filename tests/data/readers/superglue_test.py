"""SuperGLUE's files to rows: each layout, ids, labels, and what is refused."""

import json

import pytest

from glue_jax.data import load
from glue_jax.data.tasks import by_name, superglue

# Task: (line of the file, rows it gives as (columns..., label, idx)).
LINES = {
  'boolq': (
    {'question': 'is it', 'passage': 'It is.', 'label': True, 'idx': 3},
    [('is it', 'It is.', 1, 3)],
  ),
  'cb': (
    {'premise': 'p', 'hypothesis': 'h', 'label': 'neutral', 'idx': 0},
    [('p', 'h', 2, 0)],
  ),
  'copa': (
    {
      'premise': 'p',
      'choice1': 'a',
      'choice2': 'b',
      'question': 'cause',
      'label': 1,
      'idx': 0,
    },
    [('p', 'What was the cause of this?', 'a', 'b', 1, 0)],
  ),
  'multirc': (
    {
      'idx': 4,
      'passage': {
        'text': 't',
        'questions': [
          {
            'question': 'q?',
            'idx': 7,
            'answers': [
              {'text': 'x', 'idx': 1, 'label': 0},
              {'text': 'y', 'idx': 2, 'label': 1},
            ],
          }
        ],
      },
    },
    [('t', 'q? x', 0, '4-7-1'), ('t', 'q? y', 1, '4-7-2')],
  ),
  'record': (
    {
      'idx': 1,
      'passage': {
        'text': 'Ann met Bo.\n@highlight\nBo left',
        # The ends are inclusive; the same surface counts once.
        'entities': [
          {'start': 0, 'end': 2},
          {'start': 8, 'end': 9},
          {'start': 23, 'end': 24},
        ],
      },
      'qas': [
        {
          'idx': 5,
          'query': '@placeholder left Ann',
          'answers': [{'start': 8, 'end': 9, 'text': 'Bo'}],
        }
      ],
    },
    [
      ('Ann met Bo. Bo left', 'Ann left Ann', 0, '1-5-0'),
      ('Ann met Bo. Bo left', 'Bo left Ann', 1, '1-5-1'),
    ],
  ),
  'wic': (
    {
      'word': 'class',
      'sentence1': 'A class.',
      'sentence2': 'Real class',
      'start1': 2,
      'end1': 7,
      'start2': 5,
      'end2': 10,
      'label': False,
      'idx': 0,
    },
    [('A * class *.', 'Real * class *', 0, 0)],
  ),
  'wsc': (
    {
      'text': 'Mark Twain said that he left .',
      'target': {
        'span1_index': 0,
        'span1_text': 'Mark Twain',
        'span2_index': 4,
        'span2_text': 'he',
      },
      'label': True,
      'idx': 9,
    },
    [('* Mark Twain * said that # he # left .', 1, 9)],
  ),
  'superglue_rte': (
    {'premise': 'p', 'hypothesis': 'h', 'label': 'not_entailment', 'idx': 0},
    [('p', 'h', 1, 0)],
  ),
}


def read(tmp_path, name, *lines, split='validation'):
  task = by_name.get(name)
  folder = tmp_path / task.folder
  folder.mkdir(parents=True, exist_ok=True)
  text = ''.join(json.dumps(line) + '\n' for line in lines)
  (folder / f'{task.stems[split][0]}.jsonl').write_text(text)
  return load.load(task, split, tmp_path)


def test_all_eight_tasks_and_the_diagnostics_are_here():
  names = {task.name for task in superglue.RECORDS}
  assert names == {*LINES, 'axb', 'axg'}
  # The order of CB's classes isn't that of MNLI's.
  assert by_name.get('cb').labels[1] == 'contradiction'


@pytest.mark.parametrize('name', LINES)
def test_lines_become_rows(tmp_path, name):
  line, expected = LINES[name]
  table = read(tmp_path, name, line)
  rows = [
    (*(row[c] for c in table.task.columns), row['label'], row['idx'])
    for row in table.rows
  ]
  assert rows == expected and table.labelled


def test_the_folder_of_the_benchmark_may_be_given_itself(tmp_path):
  read(tmp_path, 'cb', LINES['cb'][0])
  table = load.load(by_name.get('cb'), 'validation', tmp_path / 'superglue')
  assert len(table) == 1


def test_groups_are_questions_queries_and_pairs(tmp_path):
  assert read(tmp_path, 'multirc', LINES['multirc'][0]).groups() == ['4-7'] * 2
  record = read(tmp_path, 'record', LINES['record'][0])
  assert record.groups() == ['1-5'] * 2
  assert [r['candidate'] for r in record.rows] == ['Ann', 'Bo']
  assert record.rows[0]['answers'] == ['Bo']
  line = {'premise': 'p', 'hypothesis': 'h', 'label': 'entailment'}
  # Pairs are neighbours; no two rows of the published file share a pair_id.
  pairs = [{**line, 'idx': i, 'pair_id': 551 + 2 * i} for i in range(4)]
  table = read(tmp_path, 'axg', *pairs, split='test')
  assert table.groups() == ['0', '0', '1', '1']
  assert read(tmp_path, 'cb', LINES['cb'][0]).groups() is None


FLAT = {
  'multirc': [
    {'paragraph': 't', 'question': 'q?', 'answer': text, 'label': label,
     'idx': {'paragraph': 4, 'question': 7, 'answer': answer}}
    for text, label, answer in (('x', 0, 1), ('y', 1, 2))
  ],
  'record': [
    {'passage': 'Ann met Bo.\n@highlight\nBo left',
     'query': '@placeholder left Ann', 'entities': ['Ann', 'Bo'],
     'answers': ['Bo'], 'idx': {'passage': 1, 'query': 5}}
  ],
  'wsc': [
    {'text': 'Mark Twain said that he left .', 'span1_index': 0,
     'span1_text': 'Mark Twain', 'span2_index': 4, 'span2_text': 'he',
     'label': 1, 'idx': 9}
  ],
}  # fmt: skip


@pytest.mark.parametrize('name', FLAT)
def test_rows_of_the_hub_are_those_of_the_lines(tmp_path, name):
  lines = read(tmp_path / 'lines', name, LINES[name][0]).rows
  assert read(tmp_path / 'flat', name, *FLAT[name]).rows == lines


def test_unlabelled_test_lines_are_read(tmp_path):
  for name in LINES:
    line = json.loads(json.dumps(LINES[name][0]))
    line.pop('label', None)
    if name == 'multirc':
      for answer in line['passage']['questions'][0]['answers']:
        del answer['label']
    if name == 'record':
      del line['qas'][0]['answers']
    table = read(tmp_path, name, line, split='test')
    assert not table.labelled, name


@pytest.mark.parametrize(
  'name, change, message',
  [
    ('copa', {'question': 'why'}, r"dev.jsonl:1: .*question 'why', expected"),
    ('wic', {'end1': 99}, r'word at 2:99 of a sentence of 8'),
    ('wsc', {'target': {}}, r"'span1_index' is missing in wsc"),
    (
      'wsc',
      {
        'target': {
          'span1_index': 90,
          'span1_text': 'he',
          'span2_index': 0,
          'span2_text': 'he',
        }
      },
      'span1 is words 90:91 of a text of 7',
    ),
    ('multirc', {'passage': 'text'}, 'not in the layout multirc'),
    ('record', {'qas': [{'idx': 1, 'query': 'x'}]}, 'has no @placeholder'),
    ('cb', {'label': 'maybe'}, "unknown label 'maybe'"),
  ],
)
def test_other_layouts_are_refused_with_their_line(
  tmp_path, name, change, message
):
  with pytest.raises(ValueError, match=message):
    read(tmp_path, name, {**LINES[name][0], **change})
