"""Rows beside scores, and predictions gone flat."""

import dataclasses
import re

import numpy as np
import pytest

from glue_jax.data.table import Table
from glue_jax.data.tasks import by_name
from glue_jax.evaluation import notes
from glue_jax.evaluation.predictions import Predictions

RTE = by_name.get('rte')
TAGS = by_name.make(
  'tags', kind='token_classification', columns='tokens', labels='O,B-X'
)
SETS = by_name.make('sets', kind='multilabel', columns='text', labels='a,b')


@pytest.mark.parametrize(
  'task, values, labels, note',
  [
    (RTE, np.array([1, 1, 1]), np.array([0, 1, 1]), "3 .* 'not_entailment'"),
    (RTE, np.array([1, 1, 1]), None, "all 3 predictions are 'not_entailment'"),
    (RTE, np.array([1, 1, 1]), np.array([1, 1, 1]), None),
    (RTE, np.array([1, 0, 1]), np.array([0, 1, 1]), None),
    (by_name.get('stsb'), np.full(3, 2.5), np.arange(3.0), 'all 3 .* are 2.5'),
    (by_name.get('stsb'), np.array([1, np.nan]), None, '1 of 2 .* not finite'),
    (TAGS, [[0, 0], [0, -1]], [[0, 1], [1, 0]], "all 3 tags are 'O'"),
    (SETS, [[], []], [[0], [1]], r'all 2 predictions are \[\]'),
    (by_name.get('squad_v2'), ['', ''], None, "all 2 predictions are ''"),
    (by_name.get('squad_v2'), ['a', ''], None, None),
  ],
)
def test_flat_predictions_are_named(task, values, labels, note):
  found = Predictions(task, 'dev', list(range(len(values))), values)
  found = dataclasses.replace(found, labels=labels)
  said = notes.degenerate({'dev': found})
  assert len(said) == (note is not None)
  if note:
    assert re.search(note, said[0]) and said[0].startswith('dev: ')


def test_rows_that_were_left_out_count_as_given():
  table = Table(RTE, 'dev', [{}, {}], 'file', 'tsv', True, left_out=3)
  assert notes.row_counts({'dev': table}) == {'dev': {'used': 2, 'given': 5}}
