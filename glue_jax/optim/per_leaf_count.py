"""A transformation run on every leaf alone, with a state of its own."""

import optax

from glue_jax import tree


def by_leaf(
  transform: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """Returns the transformation with one state a leaf.

  For leaves that don't learn in every step: Adam's count of steps, by which it
  corrects its averages, is then the leaf's own, as in PyTorch. Only for what
  treats leaves alone (no global norm).

  Args:
    transform: of `optax`.
  """

  def init(params):
    return tree.map_named(
      lambda name, x: transform.init(tree.unflatten({name: x})), params
    )

  def update(updates, state, params=None):
    values = None if params is None else tree.flatten(params)
    new, states = {}, {}
    for name, x in tree.flatten(updates).items():
      own = state
      for part in name.split('/'):
        own = own[part]
      value = None if values is None else tree.unflatten({name: values[name]})
      done, states[name] = transform.update(
        tree.unflatten({name: x}), own, value
      )
      new |= tree.flatten(done)
    return tree.unflatten(new), tree.unflatten(states)

  return optax.GradientTransformation(init, update)
