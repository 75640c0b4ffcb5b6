"""DARE: drop a share of the deltas at random and rescale the rest.

Yu et al., "Language Models are Super Mario", ICML 2024, arXiv 2311.03099:
delta = theta_t - theta_0, d ~ Bernoulli(p) for each element,
theta = theta_0 + (1 - d) * delta / (1 - p). The mean over masks is theta_t.

The masks come from (seed, model's name, tensor's name) and the element's place
alone: not from the order of tensors or models, nor from chunks or devices.
"""

import dataclasses
import functools
import hashlib

import numpy as np

from glue_jax.merging.order import count_of, kth_magnitude
from glue_jax.merging.stream import Tensor, Weights

KINDS = ('dare', 'drop_only', 'magnitude')
TARGETS = ('delta', 'finetuned')


@dataclasses.dataclass(frozen=True)
class Drop:
  """What is dropped and how.

  Attributes:
    rate: share p that is dropped, 0 to 1.
    kind: 'dare'; 'drop_only', which doesn't rescale; 'magnitude', which drops
      the smallest of each tensor and doesn't rescale.
    target: 'delta', or 'finetuned': the weights themselves, which destroys the
      model and is there as the paper's negative control.
    seed: of the random masks.
  """

  rate: float
  kind: str = 'dare'
  target: str = 'delta'
  seed: int = 0

  def __post_init__(self):
    if not 0 <= self.rate <= 1:
      raise ValueError(f'drop rate {self.rate}: expected 0 to 1')
    for field, known in (('kind', KINDS), ('target', TARGETS)):
      if getattr(self, field) not in known:
        raise ValueError(
          f'drop {field} {getattr(self, field)!r}: expected one of {known}'
        )


def mask(
  drop: Drop, model: str, name: str, start: int, count: int
) -> np.ndarray:
  """Returns which elements of a tensor are dropped.

  Args:
    drop: rate and seed.
    model: the model's name.
    name: the tensor's name.
    start: first element, in the flat order of the tensor.
    count: how many.

  Returns:
    (count,) bool, True = dropped.
  """
  text = f'{drop.seed}\0{model}\0{name}'.encode()
  key = int.from_bytes(hashlib.sha256(text).digest()[:16], 'little')
  # A step of Philox gives 256 bits, so eight elements; its raw output is the
  # same in all versions of numpy.
  first = start // 8
  bits = np.random.Philox(key=key).advance(first)
  steps = -(-(start + count) // 8) - first
  raw = bits.random_raw(4 * steps).astype('<u8', copy=False).view('<u4')
  raw = raw[start - 8 * first :][:count]
  threshold = round(drop.rate * 2**32)
  if threshold == 2**32:
    return np.ones(count, bool)
  return raw < np.uint32(threshold)


def dropped(
  values: np.ndarray, where: np.ndarray, rate: float, rescale: bool = True
) -> np.ndarray:
  """Returns values with zeros where the mask is, the rest over 1 - rate.

  Args:
    values: any shape, float32.
    where: the same shape, True = dropped.
    rate: p; at 1 everything is zero and nothing is divided.
    rescale: False leaves the rest as it is.
  """
  kept = np.where(where, np.float32(0), values)
  if rescale and 0 < rate < 1:
    kept /= np.float32(1 - rate)
  return kept


def sparsified(model: Weights, base: Weights, drop: Drop) -> Weights:
  """Returns theta_0 plus what is left of the deltas, as lazy tensors.

  Args:
    model: fine-tuned; its name goes into the masks.
    base: pre-trained, with all names of the model.
    drop: what is dropped. Rate 0 gives the model itself, bit for bit.
  """
  if drop.rate == 0:
    return model
  tensors = {
    name: _sparse(model.name, name, tensor, base.tensors[name], drop)
    for name, tensor in model.tensors.items()
  }
  return dataclasses.replace(model, tensors=tensors)


def _sparse(
  model: str, name: str, tensor: Tensor, base: Tensor, drop: Drop
) -> Tensor:
  def values(start, stop):
    ours = tensor.read(start, stop)
    if drop.target == 'finetuned':
      return ours, np.float32(0)
    zero = base.read(start, stop)
    return ours - zero, zero

  @functools.cache
  def threshold():
    size = tensor.rows * tensor.row_size
    k = count_of(size, drop.rate)
    if k == 0:  # an error in the official code; here nothing is dropped
      return np.float32(-1)
    return kth_magnitude(lambda: (values(*s)[0] for s in tensor.spans()), k)

  def read(start, stop):
    delta, zero = values(start, stop)
    if drop.kind == 'magnitude':
      where = np.abs(delta) <= threshold()
    else:
      at = start * tensor.row_size
      where = mask(drop, model, name, at, delta.size).reshape(delta.shape)
    return zero + dropped(delta, where, drop.rate, drop.kind == 'dare')

  return dataclasses.replace(tensor, read=read, whole=False)
