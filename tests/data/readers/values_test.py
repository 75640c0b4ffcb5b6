"""Values that should be text, and what can be seen of a text."""

import pytest

from glue_jax.data.readers import values


@pytest.mark.parametrize(
  'value, fault',
  [
    ('text', None),
    ('zażółć 漢字 \U0001f525', None),
    ('', 'is empty'),
    (' \t', 'is empty'),
    (None, 'is null'),
    (True, r'is a boolean \(True\)'),
    (2.5, r'is a number \(2.5\)'),
    (['a'], 'is a list'),
    ({}, 'is an object'),
    ('a\ud83d', 'half a surrogate pair at character 1'),
    ('\udd25b', 'half a surrogate pair at character 0'),
  ],
)
def test_what_is_no_text_is_named(value, fault):
  found = values.text_fault(value)
  if fault is None:
    assert found is None
  else:
    with pytest.raises(ValueError, match=fault):
      raise ValueError(found)


@pytest.mark.parametrize(
  'words, fault',
  [
    (['a', '\u200b'], None),
    ([], 'is empty'),
    ('a b', "is text ('a b'); expected a list"),
    (['a', 2019], 'word 2, which is a number (2019)'),
    (['a', None], 'word 2, which is null'),
    (['a', ['b']], 'word 2, which is a list'),
    (['', 'a'], 'word 1, which is empty'),
    (['a', '\ud83d'], 'word 2, which has half a surrogate'),
  ],
)
def test_words_are_named_by_number(words, fault):
  found = values.words_fault(words)
  assert found is None if fault is None else fault in found


def test_edges_that_can_not_be_seen_are_left_out():
  assert values.seen('\u3000\u200b a\u00a0b\ufeff\n') == (3, 6)
  assert values.seen(' \u200b') == values.seen('') == (0, 0)


@pytest.mark.parametrize(
  ('value', 'number'),
  [('1.5', 1.5), (' -.5e-1 ', -0.05), ('+3', 3.0), (4, 4.0), ('1.', 1.0)],
)
def test_a_number_is_read(value, number):
  assert values.number(value) == number


@pytest.mark.parametrize(
  'value',
  [
    *('1_000', '\u0661\u0662', 'nan', 'inf', '1e999', '0x10', '', '1 2'),
    *(True, None, [1.0], float('nan'), '1/2', '\u22121.5', '50%'),
  ],
)
def test_what_python_would_take_for_a_number_is_refused(value):
  with pytest.raises(ValueError, match='expected a finite number$'):
    values.number(value)


def test_a_decimal_comma_is_named():
  with pytest.raises(ValueError, match='write a decimal point'):
    values.number('1,5')


def test_a_no_break_space_is_part_of_a_word():
  assert values.words(' 10\u00a0000\t€\u3000 x\n') == [
    '10\u00a0000',
    '€\u3000',
    'x',
  ]
