"""The laws of the methods that an optimizer must keep too; see laws_test.py."""

import pytest

from tests import laws_test
from tests.conftest import tiny_config

OPTIMIZERS = {
  'adafactor': dict(clip_rms=1.0, least_scale=1e-3),
  'bert_adam': {},
  'lamb': {},
  'galore': dict(rank=4, update_proj_gap=3, bits=8),
  'natural_galore': dict(rank=4, update_proj_gap=3, history=3),
}


@pytest.fixture(scope='module', params=sorted(OPTIMIZERS))
def case(request):
  name = request.param
  optimizer = dict(name=name, args=OPTIMIZERS[name])
  return laws_test.Case(name, tiny_config(optimizer=optimizer))


test_frozen_and_learning = (
  laws_test.test_frozen_leaves_are_bit_equal_and_learning_ones_move
)
test_saved_and_continued = (
  laws_test.test_saved_restored_and_continued_is_bit_equal
)
test_padding = laws_test.test_rows_of_nothing_but_padding_give_no_nan
