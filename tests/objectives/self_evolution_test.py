"""Self-evolution: what is masked, what it is held to, what is refused."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.data import hard_tokens
from glue_jax.objectives import self_evolution
from glue_jax.probes import token_scores
from glue_jax.training import begin, runs, schema
from tests import quick
from tests.conftest import tiny_config

NAMES = [a + b for a in 'bcdfg' for b in 'aeiou']


@pytest.fixture(scope='module')
def text(tmp_path_factory):
  folder = tmp_path_factory.mktemp('text')
  rng = np.random.default_rng(0)
  lines = [' '.join(rng.choice(NAMES, 6)) for _ in range(80)]
  (folder / 'a.txt').write_text('\n'.join(lines) + '\n')
  return str(folder)


def config(text, **changes):
  base = dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(
      files=dict(train=text, validation=text), tokenizer='train',
      vocab_size=60, train_limit=24, eval_limit=8,
    ),
    model=dict(num_layers=1, dropout=0.0, attention_dropout=0.0),
    objective=dict(name='self_evolution'),
    train=dict(epochs=1),
  )  # fmt: skip
  return tiny_config(**config_lib.override(base, changes))


@pytest.fixture(scope='module')
def scored(text, tmp_path_factory):
  """The file of the fresh model's hard tokens, and what it was made of."""
  found = token_scores.of_config(config(text), threshold=0.0)
  path = str(tmp_path_factory.mktemp('hard') / 'hard.npz')
  hard_tokens.write(path, *found)
  return path, *found


def parts_of(text, path, **objective):
  changed = config(text, data=dict(hard_tokens=path), objective=objective)
  return begin.build(schema.bind(changed, 1), 0)


def test_scores_are_those_of_the_unmasked_rows(text, scored):
  _, examples, places, model = scored
  parts = begin.build(schema.bind(config(text), 1), 0)
  assert examples.fingerprint() == parts.bundle.train.examples.fingerprint()
  leaves = tree.flatten(parts.params)
  assert model == hard_tokens.digest({n: leaves[n] for n in parts.names})
  batch = examples.batch(np.arange(4), 16)
  logits = quick.jit(parts.plain)(parts.params, batch)['logits']
  losses = -np.take_along_axis(
    np.asarray(jax.nn.log_softmax(logits)), batch['input_ids'][..., None], -1
  )[..., 0]
  for row in range(4):
    words = np.flatnonzero(batch['word_ids'][row] >= 0)
    hardest = words[np.argsort(-losses[row, words])]
    np.testing.assert_allclose(
      losses[row, places[row]], losses[row, hardest], rtol=1e-5
    )


def test_a_lower_threshold_finds_no_fewer():
  rng = np.random.default_rng(1)
  logits = rng.normal(0, 2, (3, 7, 9))
  ids, mask = rng.integers(0, 9, (3, 7)), np.ones((3, 7))
  found = [
    np.asarray(self_evolution.unsure(logits, ids, mask, t)) for t in (2, 1, 0.1)
  ]
  assert (found[0] <= found[1]).all() and (found[1] <= found[2]).all()
  wrong = self_evolution.unsure(logits, ids, mask, metric='correctness')
  np.testing.assert_array_equal(wrong, logits.argmax(-1) != ids)


def test_all_of_a_rows_hardest_are_masked_up_to_its_share(text, scored):
  parts = parts_of(text, scored[0])
  masked = self_evolution.masker(
    begin.make_context(parts.sections, parts.bundle, parts.plain, _Nothing()),
    most=0.2,
    rate=0.15,
  )
  rows = parts.bundle.train.examples.batch(np.arange(16), 16)
  batch = {k: jnp.asarray(x) for k, x in rows.items()}
  batch['hard'] = batch['hard'].at[::2].set(0)
  # A single hard token is a set of one.
  batch['hard'] = batch['hard'].at[1].set(jnp.where(
    jnp.arange(16) == 5, 1, 0
  ))  # fmt: skip
  hidden, plain = masked(batch, jax.random.key(0))
  mask_id = parts.bundle.tokenizer.mask_id
  changed = np.asarray(hidden['input_ids'] != batch['input_ids'])
  for row in range(1, 16, 2):
    at = np.flatnonzero(changed[row])
    words = int((batch['word_ids'][row] >= 0).sum())
    expected = 1 if row == 1 else round(0.2 * words)
    assert len(at) == expected
    assert set(np.asarray(batch['hard'])[row, at]) == {*range(1, expected + 1)}
    assert (hidden['input_ids'][row, at] == mask_id).all()
    wanted = hidden['labels'][row] >= 0
    assert sorted(np.asarray(hidden['positions'])[row, wanted]) == [*at]
  # The others have as many labels as a masked LM draws.
  assert ((hidden['labels'][::2] >= 0).sum(-1) == 2).all()
  np.testing.assert_array_equal(plain['input_ids'], batch['input_ids'])
  np.testing.assert_array_equal(plain['positions'], hidden['positions'])


class _Nothing:
  model = tuned = arrays = None


def test_labels_are_mixed_with_the_models_own_and_have_no_other_gradient():
  rng = np.random.default_rng(2)
  logits, reference = (jnp.asarray(rng.normal(0, 1, (4, 6))) for _ in 'ab')
  labels = jnp.array([0, 3, 5, 2])
  onehot = jax.nn.one_hot(labels, 6)

  def total(logits, reference, share):
    return self_evolution.smoothed(logits, reference, labels, share).sum()

  ours, into = jax.grad(total, argnums=(0, 1))(logits, reference, 0.3)
  mixed = 0.7 * onehot + 0.3 * jax.nn.softmax(reference)
  np.testing.assert_allclose(mixed.sum(-1), 1, rtol=1e-6)
  np.testing.assert_allclose(ours, jax.nn.softmax(logits) - mixed, atol=1e-6)
  assert not np.any(into)
  plain = -jax.nn.log_softmax(logits)[jnp.arange(4), labels].sum()
  for share, sure in ((0.0, reference), (0.3, 1e4 * onehot)):
    assert total(logits, sure, share) == pytest.approx(float(plain), rel=1e-6)


def test_a_reference_of_its_own_starts_as_the_model_itself(
  text, scored, tmp_path
):
  runs.run(config(text, objective=dict(name='mlm')), tmp_path / 'mlm')
  weights = dict(weights=str(tmp_path / 'mlm'))
  losses = []
  for reference in ('', weights['weights']):
    given = config(
      text,
      data=dict(hard_tokens=scored[0]),
      objective=dict(reference=reference),
    )
    with given.unlocked():
      given.model = weights  # which fix the sizes
    parts = begin.build(schema.bind(given, 1), 0)
    frozen = {n: c.weights for n, c in parts.method.companions.items()}
    batch = parts.bundle.train.batch(0)
    apply = parts.apply.replace(frozen=frozen)
    losses.append(
      quick.jit(
        lambda p, b, apply=apply, parts=parts: parts.objective.loss(
          apply, p, b, jax.random.key(1)
        )[0]
      )(parts.params, batch)
    )
  assert losses[0] == pytest.approx(float(losses[1]), rel=1e-6)


def test_a_run_needs_the_tokens_of_its_own_model(text, scored, tmp_path):
  path, *_ = scored
  with pytest.raises(ValueError, match='score-tokens .*hard_tokens=FILE'):
    runs.run(config(text), tmp_path / 'none')
  with pytest.raises(ValueError, match='another model was unsure of these'):
    other = config(text, data=dict(hard_tokens=path), seeds=(1,))
    runs.run(other, tmp_path / 'other')
  with pytest.raises(ValueError, match='of other rows'):
    rows = config(text, data=dict(hard_tokens=path, train_limit=20))
    runs.run(rows, tmp_path / 'rows')
  with pytest.raises(ValueError, match=r"'hard'.*the objective 'mlm'"):
    unread = config(text, data=dict(hard_tokens=path))
    unread.objective = dict(name='mlm')
    runs.run(unread, tmp_path / 'unread')
  runs.run(config(text, data=dict(hard_tokens=path)), tmp_path / 'run')
  lines = [json.loads(x) for x in (tmp_path / 'run/metrics.jsonl').open()]
  assert lines[0]['train/rows_with_hard_tokens'] == 1
  result = json.loads((tmp_path / 'run/result.json').read_text())
  assert np.isfinite(result['metrics']['validation']['loss'])


def test_what_is_no_masked_lm_is_not_scored():
  with pytest.raises(ValueError, match="the head 'classification'"):
    token_scores.of_config(tiny_config())
  with pytest.raises(ValueError, match='stages'):
    token_scores.of_config(tiny_config(stages=(('one', {}),)))
