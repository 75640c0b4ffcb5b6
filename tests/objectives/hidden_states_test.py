"""Hidden states of a teacher: which blocks, what counts, what is refused."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.models import model as models
from glue_jax.objectives import hidden_states
from glue_jax.plugs import Apply

BATCH = {
  'input_ids': jnp.arange(2, 14).reshape(2, 6),
  'attention_mask': jnp.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]]),
  'weight': jnp.array([1.0, 1.0]),
}


def apply(layers=1, **changes):
  sizes = dict(vocab_size=20, hidden_size=8, num_layers=layers, num_heads=2)
  sizes |= dict(dropout=0.0, attention_dropout=0.0) | changes
  return Apply(models.build('bert', 'tiny', kind='encoder', **sizes))


def context(student, teacher, kind='language_modeling'):
  params = teacher.init(jax.random.key(7), BATCH)
  return SimpleNamespace(
    task=SimpleNamespace(kind=kind), model=student.model,
    load=lambda name, headless: (teacher, params),
  ), params  # fmt: skip


def test_a_student_is_held_to_every_second_block_and_no_padding():
  student, teacher = apply(2), apply(4)
  ctx, theirs = context(student, teacher)
  objective = hidden_states.make(ctx, teacher='there')
  ours = student.init(jax.random.key(0), BATCH)
  beside = student.replace(
    companions={'teacher': teacher}, frozen={'teacher': theirs}
  )
  loss, metrics = objective.loss(beside, ours, BATCH, jax.random.key(1))
  states, targets = (
    a(p, BATCH)['hidden_states']
    for a, p in ((student, ours), (teacher, theirs))
  )
  real = np.asarray(BATCH['attention_mask'], bool)
  by_hand = np.mean([
    np.square(np.asarray(states[i] - targets[2 * i])[real]).mean()
    for i in range(3)
  ])  # fmt: skip
  np.testing.assert_allclose(loss, by_hand, rtol=1e-5)
  assert float(metrics['loss'][1]) == 10
  # A row that fills up counts for nothing.
  alone = BATCH | {'weight': jnp.array([1.0, 0.0])}
  rows = objective.predict(beside, ours, alone)
  assert rows['loss_count'].tolist() == [4, 0]
  assert float(rows['loss_sum'][1]) == 0
  # The teacher's own tree has nothing to learn.
  own = teacher.replace(
    companions={'teacher': teacher}, frozen={'teacher': theirs}
  )
  same = hidden_states.make(context(teacher, teacher)[0], teacher='there')
  assert float(same.loss(own, theirs, BATCH, jax.random.key(1))[0]) == 0


@pytest.mark.parametrize(
  'teacher, kind, message',
  [
    (apply(2), 'span', "needs task.kind='language_modeling', found 'span'"),
    (apply(2, vocab_size=21), 'language_modeling', 'has vocab_size 21'),
    (apply(2, hidden_size=16), 'language_modeling', 'has hidden_size 16'),
    (apply(3), 'language_modeling', '3 blocks, no multiple of the 2'),
  ],
)
def test_refusals(teacher, kind, message):
  ctx, _ = context(apply(2), teacher, kind)
  with pytest.raises(ValueError, match=message):
    hidden_states.make(ctx, teacher='there')
