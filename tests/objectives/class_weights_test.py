"""Weights of labels and the focal loss, against their formulas."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.utils.class_weight import compute_class_weight

from glue_jax import tree
from glue_jax.data.examples import Examples
from glue_jax.data.label_counts import LabelCounts, count
from glue_jax.models import model as models
from glue_jax.objectives import class_weights, task
from glue_jax.training import runs, schema
from glue_jax.weights import saved_model
from tests.conftest import tiny_config

LOGITS = jnp.array([[2.0, 0.0, -1.0], [0.0, 1.0, 3.0], [1.0, 0.5, 0.0]])
LABELS = jnp.array([0, 2, 1])
ROWS = dict(labels=LABELS, weight=jnp.ones(3))
NAMES = ('a', 'b', 'c')


def context(kind, labels=NAMES, counts=None):
  record = SimpleNamespace(kind=kind, form=kind, labels=labels)
  model = SimpleNamespace(family='bert', kind=models.head_kind('bert', kind))
  return SimpleNamespace(task=record, model=model, label_counts=counts)


def loss(kind, batch, logits=LOGITS, labels=NAMES, counts=None, **settings):
  objective = task.make(context(kind, labels, counts), **settings)

  def apply(*_, **__):
    return {'logits': logits}

  value, metrics = objective.loss(apply, {}, batch, None)
  return float(value), {k: (float(a), float(b)) for k, (a, b) in
                        metrics.items()}  # fmt: skip


def test_balanced_weights_are_those_of_scikit_learn():
  labels = np.array([0, 0, 0, 2, 2, 0, 3])
  found = LabelCounts(np.bincount(labels, minlength=5), len(labels))
  weights = class_weights.balanced(found, 'classification')
  classes = np.unique(labels)
  theirs = compute_class_weight('balanced', classes=classes, y=labels)
  np.testing.assert_allclose(weights[classes], theirs)
  np.testing.assert_array_equal(weights[[1, 4]], 1)
  # Of sets: what is given weighs as much as what isn't.
  sets = LabelCounts(np.array([2, 0, 8]), 8)
  np.testing.assert_allclose(
    class_weights.balanced(sets, 'multilabel'), [3, 1, 1 / 8]
  )


def test_labels_of_every_kind_are_counted():
  def examples(**fields):
    none = np.zeros(0, np.int32)
    return Examples(
      'classification', 0, none, none, np.zeros(4, int), np.arange(3), **fields
    )

  found = count(examples(labels=np.array([1, 1, 0])), 3)
  assert found.counts.tolist() == [1, 2, 0] and found.total == 3
  sets = np.array([[1, 0], [1, 1], [0, 0]], np.int32)
  found = count(examples(labels=sets), 2)
  assert found.counts.tolist() == [2, 1] and found.total == 3
  tags = np.array([-100, 1, 1, 2, -100])
  found = count(examples(token_labels=tags), 3)
  assert found.counts.tolist() == [0, 2, 1] and found.total == 3


def test_a_class_weight_is_that_of_the_weighted_mean():
  plain = -np.asarray(jax.nn.log_softmax(LOGITS))[np.arange(3), LABELS]
  weights = np.array([0.5, 0.0, 0.25])[np.asarray(LABELS)]
  value, metrics = loss(
    'classification', ROWS, class_weights=dict(a=0.5, b=0.0, c=0.25)
  )
  # The sum of the weights is below 1, and divides all the same.
  assert value == pytest.approx((plain * weights).sum() / 0.75, rel=1e-6)
  assert metrics['loss'][1] == pytest.approx(0.75)
  assert metrics['accuracy'] == (2, 3)
  padded = dict(ROWS, weight=jnp.array([1.0, 1.0, 0.0]))
  value, _ = loss('classification', padded, class_weights=dict(a=3.0))
  assert value == pytest.approx((3 * plain[0] + plain[1]) / 4, rel=1e-6)


def test_tokens_weigh_by_their_tag():
  batch = dict(labels=jnp.array([[-100, 2, 1]]), weight=jnp.ones(1))
  value, metrics = loss(
    'token_classification', batch, LOGITS[None], class_weights=dict(c=4.0)
  )
  plain = -np.asarray(jax.nn.log_softmax(LOGITS))[[1, 2], [2, 1]]
  assert value == pytest.approx((4 * plain[0] + plain[1]) / 5, rel=1e-6)
  assert metrics['loss'][1] == 5 and metrics['accuracy'][1] == 2


def test_of_sets_the_weight_is_that_of_a_given_label():
  labels = jnp.array([[1, 0, 1], [0, 0, 1], [0, 1, 0]])
  batch = dict(labels=labels, weight=jnp.ones(3))
  value, _ = loss('multilabel', batch, class_weights=dict(a=2.0, c=0.5))
  plain = optax.sigmoid_binary_cross_entropy(LOGITS, labels)
  factor = np.where(labels > 0, [2.0, 1.0, 0.5], 1.0)
  assert value == pytest.approx(float((plain * factor).mean()), rel=1e-6)


@pytest.mark.parametrize('kind', ['classification', 'multilabel'])
def test_focal_loss_is_that_of_the_paper(kind):
  labels, names = LABELS, NAMES
  p = np.asarray(jax.nn.softmax(LOGITS))[np.arange(3), LABELS]
  if kind == 'multilabel':
    labels = jax.nn.one_hot(LABELS, 3, dtype=int)
    p = np.asarray(jax.nn.sigmoid(LOGITS))
    p = np.where(labels > 0, p, 1 - p)
  batch = dict(labels=labels, weight=jnp.ones(3))
  value, _ = loss(kind, batch, labels=names, focal_gamma=2.0)
  assert value == pytest.approx(
    float((-((1 - p) ** 2) * np.log(p)).mean()), rel=1e-5
  )
  assert loss(kind, batch, focal_gamma=0.0) == loss(kind, batch)
  if kind == 'multilabel':
    value, _ = loss(kind, batch, focal_gamma=2.0, focal_alpha=0.25)
    alpha = np.where(labels > 0, 0.25, 0.75)
    assert value == pytest.approx(
      float((-alpha * (1 - p) ** 2 * np.log(p)).mean()), rel=1e-5
    )


def test_alpha_weighs_the_second_of_two_labels():
  logits = LOGITS[:, :2]
  batch = dict(labels=jnp.array([0, 1, 1]), weight=jnp.ones(3))
  value, metrics = loss(
    'classification', batch, logits, NAMES[:2], focal_alpha=0.25
  )
  plain = -np.asarray(jax.nn.log_softmax(logits))[range(3), [0, 1, 1]]
  expected = (plain * [0.75, 0.25, 0.25]).sum() / 3
  assert value == pytest.approx(expected, rel=1e-6)
  assert metrics['loss'][1] == 3


@pytest.mark.parametrize('gamma', [0.5, 2.0])
def test_the_focal_gradient_is_finite_where_all_is_right(gamma):
  logits = jnp.array([[200.0, -200.0], [0.0, 90.0]])

  def classes(x):
    factor = class_weights.focal_of_classes(x, jnp.array([0, 1]), gamma)
    return (factor * task.cross_entropy(x, jnp.array([0, 1]))).sum()

  def sets(x):
    return class_weights.focal_of_sets(x, x > 0, gamma).sum()

  for fn in (classes, sets):
    assert np.isfinite(jax.grad(fn)(logits)).all()


@pytest.mark.parametrize(
  'kind, settings, message',
  [
    (
      'classification',
      dict(class_weights=dict(d=1.0)),
      r"no label \['d'\]; .*",
    ),
    ('classification', dict(class_weights=dict(a=0, b=0, c=0)), 'all are 0'),
    ('classification', dict(focal_alpha=0.3), 'two labels, the task has 3'),
    ('regression', dict(class_weights='balanced'), 'a regression task has no'),
    ('regression', dict(label_smoothing=0.1), 'a regression task has no'),
    ('multiple_choice', dict(class_weights=dict(a=1)), 'multiple_choice task'),
    ('span', dict(focal_gamma=1.0), 'focal_gamma=1.0: a span task has no'),
    (
      'multilabel',
      dict(focal_alpha=0.3, class_weights='balanced'),
      'both weigh the labels',
    ),
  ],
)
def test_what_a_task_has_no_form_of_is_refused(kind, settings, message):
  with pytest.raises(ValueError, match=message):
    task.make(context(kind), **settings)


def test_a_gamma_that_leaves_nothing_is_refused():
  settings = dict(objective=dict(focal_gamma=500.0))
  with pytest.raises(ValueError, match=r'focal_gamma=500.*in \[0, 20\]'):
    schema.check(tiny_config(**settings))


def test_balanced_weights_need_training_rows_only_to_train():
  objective = task.make(context('classification'), class_weights='balanced')
  with pytest.raises(ValueError, match='needs the training rows'):
    objective.loss(None, {}, {}, None)


def test_a_run_states_its_weights_and_accumulates_to_the_big_batch(tmp_path):
  off = dict(dropout=0.0, attention_dropout=0.0)
  leaves, stated = {}, {}
  for parts in (1, 4):
    config = tiny_config(
      model=off,
      data=dict(train_limit=55),
      objective=dict(class_weights='balanced', focal_gamma=1.0),
      train=dict(epochs=1, accumulate=parts),
    )
    folder = tmp_path / str(parts)
    runs.run(config, folder)
    leaves[parts] = tree.flatten(saved_model.load(folder)[1])
    record = json.loads((folder / 'run.json').read_text())
    stated[parts] = record['objective']['class_weights']
  for name, value in leaves[1].items():
    np.testing.assert_allclose(value, leaves[4][name], atol=1e-5, err_msg=name)
  assert stated[1] == stated[4]
  # n / (k * count): the shares of two labels add up to 2 in 1 / weight.
  values = list(stated[1].values())
  assert len(values) == 2 and sum(1 / v for v in values) == pytest.approx(2)
  assert min(values) < 1 < max(values)
