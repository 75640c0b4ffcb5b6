"""Span answers: n-best, the lowest no-answer score, the threshold."""

import numpy as np
import pytest

from glue_jax.data import features, wordpiece
from glue_jax.data.table import Table
from glue_jax.data.tasks import by_name
from glue_jax.evaluation import spans as squad

CONTEXT = 'Ann met Bob in Rome on a hot day , and Bob met Cid .'


def postprocess(table, *given, **settings):
  rows, unanswerable = table.rows, table.task.unanswerable
  return squad.postprocess(rows, *given, unanswerable=unanswerable, **settings)


@pytest.fixture(scope='module')
def windows():
  """Two questions of two windows each, with their table."""
  tokenizer = wordpiece.train([CONTEXT.lower()] * 3, 90)
  row = {
    'question': 'Who met ?',
    'context': CONTEXT,
    'answers': {'text': ['Ann'], 'answer_start': [0]},
    'label': None,
  }
  rows = [{**row, 'id': name, 'idx': i} for i, name in enumerate('ab')]
  table = Table(by_name.get('squad_v2'), 'validation', rows, '', '', True)
  sizes = features.Windows(doc_stride=2, max_query_length=8)
  examples = features.tokenize(table, tokenizer, 18, windows=sizes)
  return table, examples


def logits(examples, **scores):
  """Zero logits but (window, character, value) at starts and ends."""
  start, end = (np.zeros((len(examples), 24)) for _ in range(2))
  for array, name, column in ((start, 'start', 0), (end, 'end', 1)):
    for window, char, value in scores.get(name, ()):
      low, high = examples.bounds[window : window + 2]
      chars = examples.char_offsets[low:high, column]
      array[window, np.flatnonzero(chars == char)[0]] = value
  return start, end


def test_windows_cover_the_context(windows):
  _, examples = windows
  assert examples.example.tolist() == [0, 0, 1, 1]
  assert examples.char_offsets.max() == len(CONTEXT)


def test_answer_is_cut_from_the_context(windows):
  table, examples = windows
  rome = CONTEXT.index('Rome')
  start, end = logits(examples, start=[(0, rome, 5)], end=[(0, rome + 4, 5)])
  answers = postprocess(table, examples, start, end)
  assert answers.predictions == {'a': 'Rome', 'b': ''}
  assert answers.null_odds['a'] == -10
  assert answers.nbest['a'][0]['text'] == 'Rome'
  total = sum(entry['probability'] for entry in answers.nbest['a'])
  assert total == pytest.approx(1)
  texts = [entry['text'] for entry in answers.nbest['a']]
  assert len(set(texts)) == len(texts) <= 21
  assert '' in texts


def test_threshold_and_lowest_no_answer(windows):
  table, examples = windows
  start, end = logits(examples, start=[(2, 0, 2)], end=[(2, 3, 2)])
  start[2, 0] = 3.0  # [CLS] of one window; the other's stays at 0
  answers = postprocess(table, examples, start, end)
  assert answers.null_odds['b'] == -4  # 0, the lowest, less 2 + 2
  assert answers.predictions['b'] == 'Ann'
  strict = postprocess(table, examples, start, end, null_threshold=4)
  assert strict.predictions['b'] == ''
  start[2:, 0] = 4.5  # now no window has a lower one
  assert postprocess(table, examples, start, end).predictions['b'] == ''


def test_every_question_of_version_1_is_answered(windows):
  table, examples = windows
  old = Table(by_name.get('squad_v1'), 'validation', table.rows, '', '', True)
  start, end = logits(examples)
  start[:, 0] = end[:, 0] = 9
  answers = postprocess(old, examples, start, end)
  assert all(answers.predictions.values())
  assert all('' not in [e['text'] for e in n] for n in answers.nbest.values())


def test_limits(windows):
  table, examples = windows
  met, rome = CONTEXT.index('met'), CONTEXT.index('Rome')
  scores = dict(start=[(0, met, 5)], end=[(0, rome + 4, 5), (0, met + 3, 4)])
  start, end = logits(examples, **scores)
  long = postprocess(table, examples, start, end)
  assert long.predictions['a'] == 'met Bob in Rome'
  short = postprocess(table, examples, start, end, max_answer_length=3)
  assert short.predictions['a'] == 'met'
  one = postprocess(table, examples, start, end, n_best=1)
  assert len(one.nbest['a']) == 2  # the best text, and no answer
  with pytest.raises(ValueError, match='3 start and 4 end logits for 4'):
    postprocess(table, examples, start[:3], end)


def test_spans_stay_inside_the_context():
  chars = np.array([[-1, -1], [-1, -1], [0, 3], [4, 7], [-1, -1]])
  high = np.array([9.0, 9, 1, 0, 9])
  spans = squad.window_spans(high, high, chars, 20, 30)
  assert {(s.start, s.end) for s in spans} == {(0, 3), (0, 7), (4, 7)}
  assert max(spans, key=lambda s: s.score) == squad.Span(0, 3, 2.0)
