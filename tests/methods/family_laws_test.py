"""Laws of the loop for methods on decoders and on an encoder-decoder.

One method of each kind (beside a product, behind a sublayer, before the keys)
is killed, spread over devices and given padding. Gradients and exports of every
method are in families_test.py.
"""

import json

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.config import config
from tests import device_laws_test, laws_test, quick
from tests.conftest import run_on_devices, tiny_config
from tests.law_cases import Case
from tests.methods import families_test
from tests.objectives.laws_test import pad, uneven

CASES = (
  ('llama', 'lora'),
  ('gpt2', 'houlsby'),
  ('llama', 'prefix'),
  ('t5', 'prefix'),
)
_STILL = dict(dropout=0.0, attention_dropout=0.0)


def changes(model, method):
  facts = families_test.METHODS[method]
  base = config.override(
    device_laws_test.BASE,
    dict(model=families_test.MODELS[model] | _STILL, data=dict(batch_size=8)),
  )
  made = config.override(base, facts.needs)
  return made | {'methods': [[method, dict(facts.small)]]}


@pytest.fixture(scope='module', params=CASES, ids='-'.join)
def case(request):
  return Case('-'.join(request.param), tiny_config(**changes(*request.param)))


test_saved_and_continued = (
  laws_test.test_saved_restored_and_continued_is_bit_equal
)


def test_padding_appended_changes_nothing(case):
  parts, key = case.parts, jax.random.key(0)
  flat = tree.flatten(parts.params)
  own = sorted(parts.method.learns(flat, {}))

  @quick.jit
  def run(rows):  # away from the start, where a method may add nothing
    moved = {
      name: flat[name]
      + 0.3 * jax.random.normal(jax.random.fold_in(key, i), flat[name].shape)
      for i, name in enumerate(own)
    }
    return parts.apply(tree.unflatten(flat | moved), rows)['logits']

  rows = uneven(parts.bundle.train.batch(0), parts)
  longer = {name: pad(name, value, parts) for name, value in rows.items()}
  np.testing.assert_allclose(run(longer), run(rows), rtol=0, atol=1e-5)


def test_four_devices_give_the_result_of_one():
  cases = {'-'.join(names): changes(*names) for names in CASES}
  said = run_on_devices(
    'from tests import device_laws\n'
    f'device_laws.main({json.dumps(json.dumps(cases))})',
    4,
  )
  assert said.split() == ['equal', *cases]
