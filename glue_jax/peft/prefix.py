"""Prefix tuning: learned keys and values before those of every layer.

Li and Liang 2021, arXiv 2101.00190; for encoders P-Tuning v2, Liu et al. 2021,
arXiv 2110.07602. Real tokens attend to P prefixes and to each other; prefixes
have no queries.

Hugging Face's BERT numbers the real tokens' positions from P on (`positions`),
so that even prefixes of zeros change the model.
"""

import jax
import jax.numpy as jnp

from glue_jax import tree
from glue_jax.config.ranges import Count, Rate, checked
from glue_jax.layers import paths
from glue_jax.layers.dropout import dropout as drop
from glue_jax.peft import lora
from glue_jax.plugs import Plug, Site

# Where the leaves of the reparameterisation lie: in the first stack.
HOME = f'{paths.STACK}/prefix'
_LEAVES = ('/prefix_key', '/prefix_value')


@checked
def plug(pattern: str, length: Count, dropout: Rate = 0.0) -> Plug:
  """Adds leaves prefix_key and prefix_value (P, D), from N(0, 1).

  D is the width of the keys.

  Args:
    pattern: full-match regex on module paths (the attention's `core`s).
    length: P.
    dropout: rate on the prefixes while training.

  Raises:
    ValueError: an argument that isn't what its annotation says.
  """
  normal = jax.nn.initializers.normal(1.0)

  def extended(site, name, x):
    # Heads of queries may share one of keys and values.
    heads, width = x.shape[2:]
    groups = site.module.config.num_kv_heads or heads
    prefix = site.param(name, normal, (length, groups * width))
    prefix = prefix.reshape(length, groups, width).astype(x.dtype)
    prefix = jnp.repeat(prefix, heads // groups, axis=1)
    prefix = jnp.broadcast_to(prefix, (x.shape[0], *prefix.shape))
    if dropout and site.train:
      prefix = drop(prefix, site.rng(), dropout)
    return jnp.concatenate([prefix, x], 1)

  def call(site: Site, next_fn, query, key, value, bias, train):
    key = extended(site, 'prefix_key', key)
    value = extended(site, 'prefix_value', value)
    seen = jnp.zeros((*bias.shape[:-1], length), bias.dtype)
    bias = jnp.concatenate([seen, bias], -1)
    return next_fn(query, key, value, bias, train)

  return Plug(pattern, call)


def positions(length: int) -> Plug:
  """Numbers the positions of real tokens from P on.

  Args:
    length: P.

  Raises:
    ValueError: (when bound) they exceed the position table.
  """

  def call(site: Site, next_fn, ids):
    table = site.module
    first = 0 if table.pad_id is None else table.pad_id + 1
    if first + length + ids.shape[1] > table.rows:
      raise ValueError(
        f'prefix length={length} and inputs of length {ids.shape[1]} exceed '
        f'the {table.rows - first} positions of the model; lower '
        'data.max_length or give position_offset=False'
      )
    moved = ids + length
    if table.pad_id is not None:  # padding stays where it is (RoBERTa)
      moved = jnp.where(ids == table.pad_id, ids, moved)
    return next_fn(moved)

  return Plug(paths.table('position'), call)


def rotations(length: int) -> Plug:
  """Turns heads as if the real tokens' positions began at P.

  Args:
    length: P.
  """

  def call(site: Site, next_fn, context, train):
    del site
    turned = next_fn(context, train)
    return turned.replace(rotary=turned.rotary + length)

  return Plug(f'{paths.STACK}/positions', call)


def add_mlp(rng: jax.Array, params: tree.Tree, hidden: int) -> tree.Tree:
  """Adds the reparameterisation's leaves: (P, D) -> tanh (P, H) -> (P, 2 L D).

  Args:
    rng: typed key.
    params: a tree with prefixes, whose sizes are read.
    hidden: H.
  """
  flat = tree.flatten(params)
  names = _leaves(flat)
  length, width = flat[names[0]].shape
  keys = iter(jax.random.split(rng, 5))

  def uniform(fan_in, shape):
    return lora.initial_a(next(keys), (fan_in, *shape))

  out = len(names) * width
  new = {
    'embedding': jax.random.normal(next(keys), (length, width)),
    'hidden/kernel': uniform(width, (hidden,)),
    'hidden/bias': uniform(width, (hidden,))[0],
    'out/kernel': uniform(hidden, (out,)),
    'out/bias': uniform(hidden, (out,))[0],
  }
  home = f'{names[0].partition("/")[0]}/prefix'
  named = {f'{home}/{name}': value for name, value in new.items()}
  return tree.merge(params, tree.unflatten(named))


def project(params: tree.Tree) -> tree.Tree:
  """Replaces the prefixes by what the reparameterisation gives."""
  flat = tree.flatten(params)

  home = next(n for n in flat if tree.matches(f'{HOME}/embedding', n))

  def part(name):
    return flat[f'{home.rpartition("/")[0]}/{name}']

  hidden = jnp.tanh(
    part('embedding') @ part('hidden/kernel') + part('hidden/bias')
  )
  return place(params, hidden @ part('out/kernel') + part('out/bias'))


def drop_mlp(params: tree.Tree) -> tree.Tree:
  """Drops the reparameterisation's leaves; `project` has done its work."""
  return tree.partition(params, lambda n: tree.matches(f'{HOME}/.*', n))[1]


def place(params: tree.Tree, table: jax.Array) -> tree.Tree:
  """Puts a table into the leaves of the layers.

  Args:
    params: a tree with prefixes.
    table: (P, 2 L D), in the order K0 V0 K1 V1 ...
  """
  flat = tree.flatten(params)
  names = _leaves(flat)
  for name, part in zip(names, jnp.split(table, len(names), axis=1)):
    flat[name] = part
  return tree.unflatten(flat)


def table(params: tree.Tree) -> jax.Array:
  """Returns the prefixes of all layers, (P, 2 L D), as `place` takes them."""
  flat = tree.flatten(params)
  return jnp.concatenate([flat[name] for name in _leaves(flat)], 1)


def _leaves(flat):
  """Names of the prefixes in the table's order."""
  places = {n: paths.split(n) for n in flat if n.endswith(_LEAVES)}

  def order(name):
    place = places[name]
    return place.stack != 'encoder', place.number, name

  return sorted(places, key=order)
