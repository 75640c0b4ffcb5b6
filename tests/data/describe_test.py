"""What is in a table, as text."""

import numpy as np

from glue_jax.data import describe, load
from glue_jax.data.tasks import by_name


def test_histogram():
  lines = describe.histogram(np.array([1, 9, 10, 33])).splitlines()
  assert [line.split()[3] for line in lines[:4]] == ['1', '2', '0', '1']
  assert lines[1].count('#') == 40
  assert describe.histogram(np.array([8, 8])).count('#') == 40


def test_balance():
  table = load.load(by_name.get('mini_sentiment'), 'test')
  assert describe.balance(table) == 'negative 250 (50.0%), positive 250 (50.0%)'
  hidden = load.from_records(by_name.get('cola'), [{'sentence': 'a'}])
  assert describe.balance(hidden) == 'hidden'
