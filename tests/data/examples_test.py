"""Further fields of examples and tokens, and padding on the left."""

import dataclasses

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.data import batching, cache
from glue_jax.data.examples import Examples
from glue_jax.models import model as models
from glue_jax.plugs import Apply
from tests import small_users
from tests.conftest import jit, run_on_devices, tiny_config
from tests.data.batching_test import BUCKETS, examples
from tests.law_cases import Case


@pytest.fixture(scope='module')
def rows() -> Examples:
  """Rows whose further fields say which they are."""
  plain = examples(37, longest=16)
  return dataclasses.replace(
    plain,
    columns={
      'difficulty': plain.idx / 10,
      'pair': np.stack([plain.idx] * 2, 1),
    },
    token_columns={'noise': plain.ids * 2},
  )


def check(batch):
  real = batch['weight'] > 0
  np.testing.assert_allclose(batch['difficulty'][real], batch['idx'][real] / 10)
  np.testing.assert_array_equal(batch['pair'][real, 1], batch['idx'][real])
  assert not batch['difficulty'][~real].any() and not batch['pair'][~real].any()
  np.testing.assert_array_equal(batch['noise'], 2 * batch['input_ids'])


def test_columns_follow_their_rows(rows, tmp_path):
  batches = batching.train_batches(rows, 8, BUCKETS, 1)
  for step in range(batches.steps_per_epoch):
    check(batches.batch(step))
  some = rows.take(np.array([30, 2, 9]))
  check(some.batch(np.array([2, 0, -1]), 16))
  key = {'of': 'the rows'}
  made = cache.cached(lambda: rows, key, tmp_path)
  read = cache.cached(lambda: pytest.fail('it is kept'), key, tmp_path)
  assert made.fingerprint() == read.fingerprint()
  check(read.batch(np.arange(5), 16))


def test_columns_are_part_of_what_a_run_was_begun_with(rows):
  plain = dataclasses.replace(rows, columns={}, token_columns={})
  assert plain.fingerprint() == examples(37, longest=16).fingerprint()
  other = dict(rows.columns, difficulty=rows.columns['difficulty'] + 1)
  changed = dataclasses.replace(rows, columns=other)
  prints = {x.fingerprint() for x in (plain, rows, changed)}
  assert len(prints) == 3


USED = dict(methods=(('weighed', {}),), optimizer=dict(lr=1e-3))


def after_two_steps(**changes):
  """{leaf: value} of a run whose rows have a column."""
  with small_users.named():
    off = dict(dropout=0.0, attention_dropout=0.0, num_layers=1)
    case = Case('weighed', tiny_config(model=off, **changes))
  data = case.parts.bundle.train
  difficulty = np.linspace(0.1, 2, 64, dtype=np.float32)
  columns = {'difficulty': difficulty[: len(data.examples)]}
  data.examples = dataclasses.replace(data.examples, columns=columns)
  return tree.flatten(case.step(case.start(), 2)[0].params)


def test_four_devices_read_a_column_as_one_does(tmp_path):
  four = dict(USED, mesh=dict(data=2, fsdp=2))
  run_on_devices(
    'import numpy as np\n'
    'from tests.data import examples_test\n'
    f'found = examples_test.after_two_steps(**{four})\n'
    f'np.savez({str(tmp_path / "four.npz")!r}, **found)',
    4,
  )
  one = after_two_steps(**USED)
  with np.load(tmp_path / 'four.npz') as four:
    assert set(four.files) == one.keys()
    for name, value in one.items():
      np.testing.assert_allclose(four[name], value, atol=1e-5, err_msg=name)


def test_a_method_reads_a_column_in_parts_of_a_batch_too():
  whole = after_two_steps(**USED)
  parts = after_two_steps(**USED, train=dict(accumulate=2))
  plain = after_two_steps(optimizer=USED['optimizer'])
  for name, value in whole.items():
    np.testing.assert_allclose(parts[name], value, atol=1e-5, err_msg=name)
  name = 'encoder/layer_0/ffn/ffn_in/kernel'
  assert abs(whole[name] - plain[name]).max() > 1e-4


@pytest.mark.parametrize(
  'changes, message',
  [
    (dict(columns={'weight': np.ones(37)}), "field 'weight' already"),
    (dict(columns={'noise': np.ones(37)}), "field 'noise' already"),
    (dict(columns={'x': np.ones(36)}), "'x' has 36 values; expected 37"),
    (dict(pad='centre'), "expected 'left' or 'right'"),
    (dict(kind='span', pad='left'), 'counted from the left'),
  ],
)
def test_fields_that_cannot_be_are_refused(rows, changes, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(rows, **changes)


def test_a_decoder_reads_the_same_on_the_left_and_on_the_right(rows):
  left = dataclasses.replace(rows, pad='left')
  at = np.array([4, 0, 21])
  ours, theirs = (x.batch(at, 16) for x in (left, rows))
  sizes = theirs['attention_mask'].sum(-1)
  assert len(set(sizes)) > 1
  for i, size in enumerate(sizes):
    for name in ('input_ids', 'attention_mask', 'noise'):
      np.testing.assert_array_equal(
        ours[name][i, 16 - size :], theirs[name][i, :size]
      )
      assert not ours[name][i, : 16 - size].any()
  module = models.build(
    'llama', 'tiny', kind='classification', num_outputs=2, vocab_size=99
  )
  apply = Apply(module)
  params = apply.init(jax.random.key(0), theirs)
  run = jit(lambda batch: apply(params, batch)['logits'])
  np.testing.assert_allclose(run(ours), run(theirs), atol=1e-5)
