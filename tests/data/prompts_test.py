"""Prompts: filled, refused, answered; rows with their targets."""

import dataclasses

import numpy as np
import pytest

from glue_jax.data import features, load, prompts, wordpiece
from glue_jax.data.examples import IGNORED
from glue_jax.data.tasks import by_name
from glue_jax.data.tasks.task import Prompt

JUDGED = Prompt('', ('Yes', 'No', 'not acceptable', 'acceptable'), '</J>')


@pytest.mark.parametrize(
  ('text', 'found'),
  [
    (' Yes </J> No', 0),
    ('it is so:\nno, really\n</J>', 1),
    ('Yes and No</J>', -1),
    ('Yes', -1),  # not closed
    ('Yesterday</J>', -1),
    ('it is not acceptable</J>', 2),
    ('acceptable</J>', 3),
    ('not acceptable, or acceptable</J>', -1),
    ('</J> Yes', -1),
    ('', -1),
  ],
)
def test_an_answer_names_exactly_one_class_before_the_closing(text, found):
  assert prompts.parse(JUDGED, text) == found


def test_without_a_closing_the_whole_text_is_the_answer():
  prompt = dataclasses.replace(JUDGED, closing='')
  assert prompts.parse(prompt, 'well,\nno.') == 1
  assert prompts.answer(prompt, ' well \n') == 'well'


def made(**fields):
  own = dict(kind='classification', columns=('a', 'b'), labels=('no', 'yes'))
  return by_name.make('own', **(own | fields))


@pytest.mark.parametrize(
  ('fields', 'words'),
  [
    (dict(prompt='{c} so?'), "names ['c']; expected some of {a}, {b}"),
    (dict(prompt='so?'), 'names no column'),
    (dict(prompt='{a'), 'write {column}'),
    (dict(prompt='{a}', words=('one',)), 'must be one for each label'),
    (dict(prompt='{a}', words=('one', 'One')), 'all different'),
    (dict(words=('one', 'two')), 'there is none; give task.prompt'),
    (
      dict(prompt='{a}', kind='regression', labels=()),
      'serves classification and generation, the task is regression',
    ),
    (
      dict(kind='generation', labels=()),
      "are joined by a prompt; give one, as in prompt='{a} {b}'",
    ),
    (
      dict(kind='generation', labels=(), prompt='{a}', metrics=('accuracy',)),
      "unknown metric 'accuracy'",
    ),
  ],
)
def test_a_prompt_that_does_not_fit_is_refused(fields, words):
  with pytest.raises(ValueError) as error:
    made(**fields)
  assert words in str(error.value)


def test_rows_are_prompts_and_targets_with_an_end():
  task = made(prompt='{b}: {a}?', closing=' .')
  records = [{'a': 'red', 'b': 'is it'}, {'a': 'blue blue', 'b': 'is it'}]
  table = load.from_records(task, records)
  for row, label in zip(table.rows, (1, 0)):
    row['label'] = label
  table = dataclasses.replace(table, labelled=True)
  assert [prompts.target(task, row) for row in table.rows] == [
    ' yes .',
    ' no .',
  ]
  tokenizer = wordpiece.train(['is it red blue ? : yes no .'] * 9, 60)
  plain = features.tokenize(table, tokenizer, 16)
  learned = features.tokenize(table, tokenizer, 16, targets=True)
  assert plain.token_labels is None
  assert plain.tokenizer is tokenizer
  for row, (text, said) in enumerate(
    (('is it : red?', 'yes.'), ('is it : blue blue?', 'no.'))
  ):
    one, both = (e.take([row]) for e in (plain, learned))
    assert tokenizer.decode(one.ids) == text
    target = both.token_labels[both.token_labels != IGNORED]
    assert target[-1] == tokenizer.end_id
    assert tokenizer.decode(target) == said
    np.testing.assert_array_equal(both.ids, [*one.ids, *target])
  # Around a template the end is kept: that is where the answer is asked for.
  short = features.tokenize(table, tokenizer, 7, targets=True)
  assert short.truncated == 2
  assert short.lengths.max() == 7
  beginning = short.take([1]).ids[:-3]
  np.testing.assert_array_equal(beginning, plain.take([1]).ids[-4:])
