"""Labels are joined by their names: equal, permuted, or refused."""

import pytest

from glue_jax.data import label_names

MNLI = ('entailment', 'neutral', 'contradiction')


@pytest.mark.parametrize(
  'theirs, order',
  [
    (MNLI, (0, 1, 2)),
    (('contradiction', 'entailment', 'neutral'), (1, 2, 0)),
    (('CONTRADICTION', 'NEUTRAL', 'ENTAILMENT'), (2, 1, 0)),
  ],
)
def test_names_say_where_a_label_stands(theirs, order):
  match = label_names.match(MNLI, theirs, 'the folder')
  assert match.order == order and not match.note
  assert match.permuted == (order != (0, 1, 2))


@pytest.mark.parametrize(
  'ours, theirs, order',
  [
    (('nie', 'żółć'), ('żółć', 'nie'), (1, 0)),
    (('0', '1'), ('1', '0'), (1, 0)),
    (('not_entailment', 'A'), ('a', 'Not entailment'), (1, 0)),
    # Exact names go first: these two are one without their case.
    (('a', 'A'), ('A', 'a'), (1, 0)),
  ],
)
def test_names_of_any_alphabet(ours, theirs, order):
  assert label_names.match(ours, theirs, 'x').order == order


@pytest.mark.parametrize(
  'theirs', [None, ('LABEL_0', 'LABEL_1'), ('0', '1'), ('class 0', 'class 1')]
)
def test_without_names_the_place_counts_and_a_note_says_so(theirs):
  match = label_names.match(('no', 'yes'), theirs, 'the head of DIR')
  assert match.order == (0, 1)
  assert 'the head of DIR' in match.note and 'by position' in match.note


@pytest.mark.parametrize(
  'theirs',
  [('no', 'maybe'), ('1', '0'), ('no',), ('no', 'yes', 'maybe'), ('NO', 'no')],
)
def test_other_names_are_refused(theirs):
  with pytest.raises(ValueError, match=r"DIR has .*, here are \['no', 'yes'\]"):
    label_names.match(('no', 'yes'), theirs, 'DIR')
