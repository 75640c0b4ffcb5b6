"""The method `comet`: losses, local search, merging, errors."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.layers.gates import permutation
from glue_jax.methods import comet
from glue_jax.training import begin, schema, train
from tests.conftest import tiny_config

MODEL = dict(
  num_layers=1,
  ffn='experts',
  options=dict(
    experts=dict(experts=3, size=8, gate_options=dict(k=2, gamma=1.0))
  ),
)


def config(model=None, steps=None, **kwargs):
  run = dict(steps=steps, epochs=None) if steps else {}
  return tiny_config(
    model=model or MODEL,
    methods=(('comet', kwargs),),
    train=dict(log_every=1) | run,
  )


def test_a_run_searches_fixes_and_merges(tmp_path):
  """Soft for T - 2 steps; from then on one assignment, frozen and merged."""
  settings = config(steps=6, entropy=0.5, search_steps=4)
  result = train.train(settings, tmp_path, 0)
  assert 0 <= result['primary']['value'] <= 1
  lines = [json.loads(x) for x in (tmp_path / 'metrics.jsonl').open()]
  logged = {}
  for line in lines:
    for name, value in line.items():
      logged.setdefault(name, []).append(value)
  assert len(logged['train/entropy']) == 6
  assert len(logged['train/search']) == 2
  assert all(0 <= value <= 1 for value in logged['train/few_experts'])
  record = json.loads((tmp_path / 'model/model.json').read_text())
  assert record['unmerged'] == []
  from glue_jax.evaluation import evaluate
  from glue_jax.inference import open_run

  (split,) = result['metrics']
  run = open_run.load_run(
    tmp_path, eval_splits=(split,), eval_limit=settings.data.eval_limit
  )
  found, _ = evaluate.evaluate(
    run.predict_fn, run.bundle.evals[split], run.task, run.bundle.tables[split]
  )
  assert found == pytest.approx(result['metrics'][split])


def test_without_a_search_the_model_has_no_permutations():
  parts = begin.build(schema.bind(config(entropy=0.1), 4), 0)
  assert not [n for n in tree.flatten(parts.params) if 'permutation' in n]


def test_separate_permutations_stay_leaves_and_shared_ones_move_experts():
  theta = jax.random.uniform(jax.random.key(0), (1, 4, 4), minval=-0.05)
  columns = comet.hard(theta, 10)[0].argmax(-1)
  table = jnp.arange(8.0).reshape(4, 2)
  make = lambda theta: {
    'layer_0': {
      'ffn': {
        'experts_in': {'bias': table},
        'gate': {'permutation': {'log_weights': theta}},
      }
    }
  }
  merged = tree.flatten(comet._merged(10, make(theta)))
  assert list(merged) == ['layer_0/ffn/experts_in/bias']
  np.testing.assert_array_equal(
    merged['layer_0/ffn/experts_in/bias'], table[columns]
  )
  both = make(jnp.concatenate([theta, theta]))
  kept = tree.flatten(comet._merged(10, both))
  np.testing.assert_array_equal(kept['layer_0/ffn/experts_in/bias'], table)
  assert len(kept) == 2


def test_the_last_soft_permutation_is_the_one_assigned():
  theta = jax.random.uniform(jax.random.key(1), (2, 5, 5), minval=-0.05)
  tau, iterations = permutation.schedule(jnp.float32(29), 30)
  soft = permutation.sinkhorn(theta, tau, iterations)
  np.testing.assert_array_equal(comet.hard(theta, 30), permutation.assign(soft))


@pytest.mark.parametrize(
  'model, arguments, message',
  [
    (dict(num_layers=1), {}, "comet needs model.ffn='experts'"),
    (None, dict(search_steps=5, copies=3), 'has 2 to permute; give 1 or 2'),
  ],
)
def test_mistakes(model, arguments, message):
  with pytest.raises(ValueError, match=message):
    begin.build(schema.bind(config(model, **arguments), 4), 0)


def test_a_term_that_no_gate_has_is_refused(tmp_path):
  with pytest.raises(ValueError, match=r"captures \['balance'\]; they .*entr"):
    train.train(config(balance=0.1), tmp_path, 0)
