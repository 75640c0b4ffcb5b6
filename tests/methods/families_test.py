"""Methods on decoders and encoder-decoders: the laws that families can break.

Every method meets a decoder, and of each kind one an encoder-decoder. In one
program each: what learns has a gradient, and what is exported is what was
trained.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.config import config
from glue_jax.training import begin, schema
from tests import adapters, quick
from tests.conftest import tiny_config

METHODS = config.facts('methods')
_SMALL = dict(num_heads=4, num_layers=1)
MODELS = {
  'llama': dict(name='llama', num_kv_heads=2, max_positions=64, **_SMALL),
  'gpt2': dict(name='gpt2', max_positions=64, **_SMALL),
  'opt': dict(name='opt', max_positions=64, **_SMALL),
  'bart': dict(name='bart', max_positions=64, **_SMALL),
  't5': dict(name='t5', head_dim=4, max_positions=0, **_SMALL),
}
# A model and methods that are compared on it; MEFT's form for OPT is published,
# BitFit wants biases.
DECODERS = {
  'llama': (
    'ada_deft', 'bootstrapping', 'deft', 'dylora', 'gradual_unfreezing',
    'houlsby', 'ia3', 'lora', 'pfeiffer', 'prefix', 'prompt', 'qlora',
    'scalearn', 'self_calibration',
  ),
  'gpt2': (
    'adapter_fusion', 'bitfit', 'lamda', 'last_layers', 'nf4',
    'parallel_adapter', 'slimfit',
  ),
  'opt': ('meft', 'ema'),
}  # fmt: skip
BOTH = {
  'bart': ('lora', 'meft', 'prompt', 'sift'),
  't5': ('deft', 'ia3', 'prefix'),
}
CASES = [
  (model, method)
  for table in (DECODERS, BOTH)
  for model, methods in table.items()
  for method in methods
]
# Read other models, or experts in a block of its own (below); of encoders.
ELSEWHERE = {
  'comet', 'contrastive', 'distillation', 'moebert', 'prompt_transfer', 'wanda',
}  # fmt: skip
# Of a tiny network without a step's hooks: the rows of a table that no token
# of the batch has, what a hook lets learn later.
_IDLE = r'.*/(word|position)/embedding|.*/key/bias'


def built(model, method, given=None, **arguments):
  facts = METHODS[method]
  settings = config.override(
    dict(model=MODELS[model], data=dict(batch_size=4, train_limit=8)),
    facts.needs,
  )
  settings = config.override(settings, given or {})
  arguments = dict(facts.small) | arguments
  tiny = tiny_config(**settings, methods=[[method, arguments]])
  return begin.build(schema.bind(tiny, 4), 0)


def test_every_method_is_compared():
  named = {method for _, method in CASES}
  assert named | ELSEWHERE == set(METHODS)
  assert not named & ELSEWHERE


# Methods that train a head, on models whose word head has no leaf of its own.
TIED = {
  'gpt2': (
    'causal_lm',
    ('lora', 'houlsby', 'pfeiffer', 'parallel_adapter', 'ia3', 'prefix',
     'prompt', 'bitfit', 'dylora', 'lamda'),
  ),
  't5': ('seq2seq_lm', ('lora', 'prompt')),
}  # fmt: skip


@pytest.mark.parametrize(
  ('model', 'method'),
  [(model, method) for model, (_, names) in TIED.items() for method in names],
)
def test_a_tied_word_head_is_no_leaf_that_is_missed(model, method, tmp_path):
  corpus = tmp_path / 'corpus.txt'
  corpus.write_text('The cat sat on the mat.\n' * 40)
  files = dict(train=str(corpus), validation=str(corpus))
  given = dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(files=files, train_limit=None),
    model=dict(tied=True),
    objective=dict(name=TIED[model][0]),
  )
  parts = built(model, method, given)
  flat = tree.flatten(parts.params)
  assert not any(name.startswith('head/') for name in flat)
  learns = parts.method.learns(flat, {})
  assert learns and 'decoder/embeddings/word/embedding' not in learns


@pytest.mark.parametrize('model', ['llama', 't5'])
def test_bitfit_says_that_there_are_no_biases(model):
  with pytest.raises(ValueError, match=r'^bitfit: this model has no biases'):
    built(model, 'bitfit')


@pytest.mark.parametrize(
  ('model', 'method'), CASES, ids=lambda value: str(value)
)
def test_what_learns_has_a_gradient_and_is_exported(model, method, tmp_path):
  arguments = {}
  if 'sources' in METHODS[method].small:
    folders = [tmp_path / f'{i}' for i in range(2)]
    base = tiny_config(model=MODELS[model], data=dict(train_limit=8))
    for i, folder in enumerate(folders):
      adapters.save(folder, base, seed=i)
    arguments['sources'] = [str(folder) for folder in folders]
  if method == 'slimfit':  # a decoder's activation isn't exact GELU
    arguments['compress'] = ['attention', 'ffn_out']
  parts = built(model, method, **arguments)
  flat, composed = tree.flatten(parts.params), parts.method
  learns = composed.learns(flat, {})
  rows = dict(parts.bundle.train.batch(0))
  loss = parts.objective.loss
  loss = composed.wrap_loss(loss) if composed.wrap_loss else loss
  key = jax.random.key(0)
  if composed.prepare:
    rows = composed.prepare(parts.apply, parts.params, rows, key)

  def program(flat):
    def of(part):
      params = tree.unflatten(flat | part)
      return loss(parts.apply, params, rows, key)[0]

    # Away from the start, where a zero beside a leaf stops its gradient.
    moved = {
      name: flat[name]
      + 0.1 * jax.random.normal(jax.random.fold_in(key, i), flat[name].shape)
      for i, name in enumerate(sorted(learns))
    }
    slopes = jax.tree.map(jnp.abs, jax.grad(of)(moved))
    params = tree.unflatten(flat | moved)
    merged = composed.export(params) if composed.export else params
    return (
      {name: x.max() for name, x in slopes.items()},
      parts.apply(params, rows)['logits'],
      parts.plain(merged, rows)['logits'] if composed.export else None,
    )

  slopes, trained, exported = jax.device_get(quick.jit(program)(flat))
  still = (*METHODS[method].still, _IDLE)
  dead = {name for name, x in slopes.items() if not x > 0}
  assert not {n for n in dead if not any(tree.matches(p, n) for p in still)}
  assert np.isfinite(trained).all()
  if exported is not None:
    np.testing.assert_allclose(trained, exported, atol=1e-4)
