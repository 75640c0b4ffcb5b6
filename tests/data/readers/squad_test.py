"""Types and contradictions of questions, each named by its id."""

import json

import pytest

from glue_jax.data import load
from glue_jax.data.readers import squad
from glue_jax.data.tasks import by_name

CONTEXT = 'The mill at Low Gate burnt down in 1912.'
YAML = """\
name: mills
dataset: squad:{train}
columns: {{question: question, context: context}}
kind: span_qa
splits: {{train: {train}{test}}}
"""


def qa(**changes):
  whole = {
    'id': 'q7',
    'question': 'When?',
    'answers': [{'text': '1912', 'answer_start': 35}],
  }
  changed = {**whole, **changes}
  return {k: v for k, v in changed.items() if v is not Ellipsis}


def document(*questions, context=CONTEXT):
  part = {'context': context, 'qas': list(questions)}
  return {'version': 'own', 'data': [{'title': 'T', 'paragraphs': [part]}]}


def read(tmp_path, *questions, more='', test=None, split='train', **options):
  context = options.pop('context', CONTEXT)
  both = [('train', questions)] + ([('test', test)] if test else [])
  for name, all_ in both:
    text = json.dumps(document(*all_, context=context))
    (tmp_path / f'{name}.json').write_text(text)
  text = YAML.format(train='train.json', test=', test: test' if test else '')
  (tmp_path / 'task.yaml').write_text(text + more)
  task = by_name.make(str(tmp_path / 'task.yaml'), cuts={})
  return load.load(task, split, **options)


FAULTS = {
  'answers null': ({'answers': None}, 'no key answers'),
  'no answers': ({'answers': ...}, 'no key answers'),
  'answers text': ({'answers': '1912'}, 'answers is text'),
  'an answer text': ({'answers': ['1912']}, 'an answer is text'),
  'start null': (
    {'answers': [{'text': '1912', 'answer_start': None}]},
    'answer_start is null',
  ),
  'start a fraction': (
    {'answers': [{'text': '1912', 'answer_start': 35.5}]},
    'answer_start is a number (35.5)',
  ),
  'start -1': (
    {'answers': [{'text': '.', 'answer_start': -1}]},
    "the context has '' at -1",
  ),
  'start true': (
    {'answers': [{'text': 'h', 'answer_start': True}]},
    'answer_start is a boolean',
  ),
  'text missing': ({'answers': [{'answer_start': 3}]}, "lacks ['text']"),
  'text a number': (
    {'answers': [{'text': 1912, 'answer_start': 35}]},
    'the answer is a number (1912)',
  ),
  'text empty': (
    {'answers': [{'text': '', 'answer_start': 3}]},
    'the answer is empty',
  ),
  'lists of two lengths': (
    {'answers': {'text': ['1912'], 'answer_start': []}},
    '1 answers have 0 answer_start',
  ),
  'question empty': ({'question': ''}, "'question' is empty"),
  'question half': ({'question': 'a\ud83d'}, 'half a surrogate'),
  'impossible text': ({'is_impossible': 'false'}, "is text ('false')"),
  'both': ({'is_impossible': True}, 'is_impossible, yet it has an answer'),
  'neither': ({'is_impossible': False, 'answers': []}, 'has no answer, though'),
  'unanswerable': ({'answers': []}, 'unanswerable: true'),
}


@pytest.mark.parametrize('changes, message', FAULTS.values(), ids=FAULTS)
def test_faults_are_named_by_id_or_left_out(tmp_path, changes, message):
  with pytest.raises(ValueError) as error:
    read(tmp_path, qa(**changes))
  assert 'question q7: ' in str(error.value)
  assert 'train.json:1: ' in str(error.value) and message in str(error.value)
  table = read(tmp_path, qa(**changes), qa(id='q8'), bad_rows='drop')
  assert [row['id'] for row in table.rows] == ['q8']


def test_parts_without_an_id_are_named_by_number(tmp_path):
  for wrong, message in ((3, 'a number (3)'), (qa(id=None), 'id is null')):
    with pytest.raises(ValueError) as error:
      read(tmp_path, qa(), wrong)
    assert f'train.json:2: {message}' in str(error.value)
  with pytest.raises(ValueError, match="q7: 'context' is null"):
    read(tmp_path, qa(), context=None)
  twice = read(tmp_path, qa(), qa(), bad_rows='drop')
  assert len(twice) == 1 and "id 'q7' was already used" in twice.notes[0]


@pytest.mark.parametrize('edge', ['\u3000', '\u00a0 ', '\u200b', '\n\t'])
def test_unseen_edges_of_answers_are_left_out(tmp_path, edge):
  context = f'It burnt down in {edge}1912{edge}.'
  answers = [{'text': f'{edge}1912{edge}', 'answer_start': 17}]
  [row] = read(tmp_path, qa(answers=answers), context=context).rows
  start = 17 + len(edge)
  assert row['answers'] == {'text': ['1912'], 'answer_start': [start]}
  blank = [{'text': edge, 'answer_start': 17}]
  with pytest.raises(ValueError, match='question q7: the answer is'):
    read(tmp_path, qa(answers=blank), context=context)


def test_edges_of_several_answers():
  given = {'text': ['\u200ba b ', 'c'], 'answer_start': [4, 9]}
  assert squad.seen(given) == {'text': ['a b', 'c'], 'answer_start': [5, 9]}


def test_a_key_makes_a_task_unanswerable(tmp_path):
  none = qa(id='q8', answers=[])
  table = read(tmp_path, qa(), none, more='unanswerable: true\n')
  assert table.task.metrics == ('f1', 'exact')
  assert [row['label'] for row in table.rows] == [['1912'], []]
  with pytest.raises(ValueError, match='unanswerable: .*expected one of true'):
    read(tmp_path, qa(), more='unanswerable: 1\n')
  with pytest.raises(ValueError, match="metric: 'exact_match'"):
    read(tmp_path, qa(), more='unanswerable: true\nmetric: exact_match\n')


@pytest.mark.parametrize('hidden', [..., None, []])
def test_test_files_may_hide_the_answers(tmp_path, hidden):
  blank = [qa(id=i, answers=hidden) for i in '12']
  table = read(tmp_path, qa(), test=blank, split='test')
  assert not table.labelled and len(table) == 2
  known = read(tmp_path, qa(), test=[qa()], split='test')
  assert known.labelled
  with pytest.raises(ValueError, match='labelled in whole or not at all'):
    read(tmp_path, qa(), test=[qa(id='a'), *blank], split='test')


def test_questions_may_stand_one_a_line(tmp_path):
  rows = [
    {'q': 'When?', 'c': CONTEXT, 'answers': qa()['answers'], 'id': 3},
    {'q': 'Why?', 'c': CONTEXT, 'answers': {'text': [], 'answer_start': []}},
  ]
  path = tmp_path / 'rows.jsonl'
  path.write_text('\n'.join(map(json.dumps, rows)))
  (tmp_path / 'task.yaml').write_text(
    'name: mills\ndataset: jsonl:rows.jsonl\nkind: span_qa\n'
    'columns: {question: q, context: c}\nunanswerable: true\n'
  )
  task = by_name.make(str(tmp_path / 'task.yaml'), cuts={})
  table = load.load(task, 'train')
  assert [row['id'] for row in table.rows] == ['3', '2']
  assert [row['q'] for row in table.rows] == ['When?', 'Why?']
