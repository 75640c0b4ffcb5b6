"""The table of a run: one header, aligned, within the width."""

import pytest

from glue_jax.reporting import live_table


def test_columns_line_up_under_one_header():
  table = live_table.LiveTable(20_000)
  values = {'accuracy': 0.5, 'loss': 123.4, 'grad_norm': 1e-5}
  lines = table.rows(100, {'train': values}, '4.20', '1h19m')
  lines += table.rows(100, {'validation': {'accuracy': 0.25, 'loss': 0.0}})
  assert lines == [
    '         step  split           loss  accuracy  grad_norm  steps/s    left',
    '   100/20,000  train       123.4000    0.5000   1.00e-05     4.20   1h19m',
    '   100/20,000  validation    0.0000    0.2500          -        -       -',
  ]


def test_a_new_metric_brings_a_new_header():
  table = live_table.LiveTable(10)
  assert len(table.rows(1, {'train': {'loss': 1.0}})) == 2
  header, row = table.rows(2, {'validation_mismatched': {'f1': 0.5}})
  assert header.split() == ['step', 'split', 'loss', 'f1', 'steps/s', 'left']
  assert len(header) == len(row)
  assert len(table.rows(3, {'train': {'loss': 1.0}})) == 1


def test_what_does_not_fit_is_counted():
  table = live_table.LiveTable(20_000, width=80)
  values = {f'f1_of_class_{i}': 0.5 for i in range(9)} | {'loss': 1.0}
  header, row = table.rows(5, {'validation': values})
  assert len(header) <= 80 and len(row) <= 80
  assert header.endswith('(+8 more)') and 'loss  f1_of_class_0  ' in header
  wide, _ = live_table.LiveTable(20_000, 250).rows(5, {'validation': values})
  assert 'f1_of_class_8' in wide and 'more' not in wide


@pytest.mark.parametrize(
  'value, text',
  [
    (None, '-'),
    (float('nan'), 'nan'),
    (float('-inf'), '-inf'),
    (0, '0.0000'),
    (-0.25, '-0.2500'),
    (123456.0, '1.23e+05'),
    (1.5e-7, '1.50e-07'),
  ],
)
def test_numbers(value, text):
  assert live_table.number(value) == text


def test_the_line_of_a_beginning():
  said = live_table.beginning(
    'rte', 2490, 780, 32, 296450, 109_778_690, '1 cpu'
  )
  assert said == (
    'rte: 2,490 rows, 780 steps of 32; trains 296,450 of 109,778,690 '
    'parameters; 1 cpu'
  )
