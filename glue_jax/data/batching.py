"""Batches in a fixed order, with few shapes and few pads.

An epoch is a permutation drawn from (seed, epoch), cut into chunks of CHUNK
batches; a chunk is sorted by length and cut into batches, and the batches of
the epoch are shuffled. So a batch is a function of (seed, step) alone: the
state of training data is the step, and resuming is exact. Every example
occurs once an epoch, unless the epoch was given an order of its own; the last
batch is filled up with weight-0 rows. All processes pad to the bucket of the
global batch.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from glue_jax.data.examples import Examples
from glue_jax.data.orders import Orders

Batch = dict[str, np.ndarray]

CHUNK = 50  # batches sorted by length together
_PREFETCH = 8


class _Cut:
  """What training and evaluation share: buckets and process slices."""

  def __init__(
    self,
    examples: Examples,
    batch_size: int,
    buckets: Sequence[int],
    process_index: int = 0,
    process_count: int = 1,
  ):
    self.examples = examples
    self.batch_size = batch_size
    self.buckets = tuple(sorted(set(buckets)))
    self.process = (process_index, process_count)
    if batch_size < 1 or batch_size % process_count:
      raise ValueError(
        f'batch size {batch_size} must be a positive multiple of the '
        f'{process_count} processes'
      )
    if not len(examples):
      raise ValueError('there are no examples to make batches of')
    longest = int(examples.lengths.max())
    if not self.buckets or self.buckets[-1] < longest:
      raise ValueError(
        f'buckets {self.buckets} end below the longest example ({longest} '
        f'tokens); the last bucket must be max_length'
      )

  @property
  def num_examples(self) -> int:
    return len(self.examples)

  def bucket(self, rows: np.ndarray) -> int:
    """The smallest bucket that holds all of these examples."""
    longest = self.examples.lengths[rows[rows >= 0]].max(initial=0)
    return self.buckets[int(np.searchsorted(self.buckets, longest))]

  def local(self, rows: np.ndarray) -> Batch:
    """This process's slice of a global batch."""
    index, count = self.process
    share = self.batch_size // count
    part = rows[index * share : (index + 1) * share]
    return self.examples.batch(part, self.bucket(rows), share)


def _fill(rows: np.ndarray, size: int) -> np.ndarray:
  return np.concatenate([rows, np.full(size - len(rows), -1, np.int64)])


class TrainBatches(_Cut):
  """Training batches by step; see train_batches."""

  def __init__(self, *args, seed: int = 0, order=None, **kwargs):
    super().__init__(*args, **kwargs)
    self.seed = seed
    # Replaced as a whole: grain's thread reads it.
    self._orders = Orders(self.steps_per_epoch)
    self._plans: dict[tuple[int, int], np.ndarray] = {}
    self._served = 0  # steps handed out by an iterator
    for epoch, rows in (order or {}).items():
      self.set_order(epoch, rows)

  @property
  def steps_per_epoch(self) -> int:
    """Of an epoch without an order of its own."""
    return -(-self.num_examples // self.batch_size)

  def first_step(self, epoch: int) -> int:
    """The step that an epoch begins with, as the orders are now."""
    return self._orders.first_step(epoch)

  def epoch_of(self, step: int) -> tuple[int, int, int]:
    """The epoch of a step, that epoch's first step and number of steps."""
    return self._orders.epoch_of(step)

  def _plan(self, orders: Orders, epoch: int) -> np.ndarray:
    """(steps, batch_size) rows of an epoch, -1 in padding rows."""
    version = orders.version
    plan = self._plans.get((version, epoch))
    if plan is None:
      if epoch in orders.rows:
        plan = self._ordered(orders.rows[epoch])
      else:
        plan = self._shuffled(epoch)
      # Reading ahead needs two epochs at a time, no more.
      for old in list(self._plans):
        if old[0] != version or old[1] < epoch - 1:
          self._plans.pop(old, None)
      self._plans[version, epoch] = plan
    return plan

  def _shuffled(self, epoch: int) -> np.ndarray:
    rng = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
    order = rng.permutation(self.num_examples)
    size, batches = self.batch_size, []
    for start in range(0, len(order), CHUNK * size):
      chunk = order[start : start + CHUNK * size]
      by_length = np.argsort(self.examples.lengths[chunk], kind='stable')
      chunk = chunk[by_length]
      batches += [chunk[i : i + size] for i in range(0, len(chunk), size)]
    plan = np.stack([_fill(batch, size) for batch in batches])
    return plan[rng.permutation(len(plan))]

  def _ordered(self, order: np.ndarray) -> np.ndarray:
    size = self.batch_size
    steps = -(-len(order) // size)
    return _fill(order, steps * size).reshape(steps, size)

  def rows(self, step: int) -> np.ndarray:
    """(B,) examples of the global batch at a step, -1 in padding rows."""
    orders = self._orders
    epoch, first, _ = orders.epoch_of(step)
    return self._plan(orders, epoch)[step - first]

  def length(self, step: int) -> int:
    """The bucket of the batch at a step."""
    return self.bucket(self.rows(step))

  def lengths_used(self, epochs: int = 1) -> tuple[int, ...]:
    """The buckets that occur in the first epochs, i.e. the shapes."""
    steps = range(epochs * self.steps_per_epoch)
    return tuple(sorted({self.length(step) for step in steps}))

  def batch(self, step: int) -> Batch:
    """This process's slice of the global batch at a step (from 0)."""
    return self.local(self.rows(step))

  def once(self) -> 'EvalBatches':
    """The same rows once through, in batches of the same size, to predict."""
    return EvalBatches(
      self.examples, self.batch_size, self.buckets, *self.process
    )

  def iterate(self, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
    """Batches from step `start` on, made ahead by grain in a thread.

    Args:
      start: first step.
      stop: step after the last one; None goes on for ever.
    """
    step = start
    self._served = max(self._served, start)
    while stop is None or step < stop:
      version = self._orders.version
      feed = iter(_prefetched(self.batch, step, stop))
      try:
        # A new order makes what was made ahead stale: start over from here.
        while version == self._orders.version and (stop is None or step < stop):
          batch = next(feed)
          step += 1
          self._served = max(self._served, step)
          yield batch
      finally:
        feed.close()

  def set_order(
    self, epoch: int, rows: np.ndarray, cycle: bool = False
  ) -> None:
    """Gives one epoch an own order (a curriculum).

    Batches are cut from `rows` as they stand, without sorting by length. The
    epoch has as many steps as they fill, so it may be shorter or longer than
    the others; later epochs move with it.

    Args:
      epoch: an epoch of which no batch was handed out yet.
      rows: example numbers; any may be left out or occur several times.
      cycle: fewer rows than there are examples are repeated in a cycle, so that
        the epoch keeps its number of steps.

    Raises:
      ValueError: the epoch has begun, or a row does not exist.
    """
    rows, orders = np.asarray(rows, np.int64), self._orders
    first = orders.first_step(epoch)
    if first < self._served:
      raise ValueError(
        f'epoch {epoch} has begun (it has the steps from {first} on, of '
        f'{self._served} the batches were handed out); an order can be set for '
        'later epochs only'
      )
    inside = rows.ndim == 1 and len(rows) > 0
    if not inside or rows.min() < 0 or rows.max() >= self.num_examples:
      raise ValueError(
        f'an order holds one or more numbers of examples, each from 0 to '
        f'{self.num_examples - 1}; found shape {rows.shape}'
      )
    if cycle and len(rows) < self.num_examples:
      rows = np.resize(rows, self.num_examples)
    current, _, _ = orders.epoch_of(self._served)
    steps = -(-len(rows) // self.batch_size)
    self._orders = orders.given(epoch, rows, steps, current)

  def state(self) -> dict:
    """What a checkpoint keeps, as JSON values (the step is kept elsewhere)."""
    return {
      'seed': self.seed,
      'batch_size': self.batch_size,
      'num_examples': self.num_examples,
      'orders': {str(e): o.tolist() for e, o in self._orders.rows.items()},
      'steps': {str(e): n for e, n in self._orders.steps.items()},
    }

  def restore(self, state: dict) -> None:
    """Takes over a saved state.

    Raises:
      ValueError: it is of other data, or of another seed or batch size.
    """
    mine = self.state()
    for name in ('seed', 'batch_size', 'num_examples'):
      if state[name] != mine[name]:
        raise ValueError(
          f'the checkpoint was written with {name}={state[name]}, now it is '
          f'{mine[name]}: the order of the examples would change'
        )
    self._served = 0
    rows = {int(e): np.asarray(o) for e, o in state['orders'].items()}
    if 'steps' not in state:  # as written when every order was repeated
      rows = {e: np.resize(o, self.num_examples) for e, o in rows.items()}
    steps = {int(e): n for e, n in state.get('steps', {}).items()}
    self._orders = Orders(
      self.steps_per_epoch, self._orders.version + 1, rows, steps
    )


def _prefetched(make, start: int, stop: int | None):
  """make(start), make(start + 1), ... computed ahead in grain's threads."""
  import grain  # slow to import, and not needed to evaluate

  count = (1 << 40) if stop is None else stop - start
  options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=_PREFETCH)
  steps = grain.MapDataset.range(start, start + count)
  return steps.map(make).to_iter_dataset(options).__iter__()


def train_batches(
  examples: Examples,
  batch_size: int,
  buckets: Sequence[int],
  seed: int,
  *,
  process_index: int = 0,
  process_count: int = 1,
  order: dict[int, np.ndarray] | None = None,
) -> TrainBatches:
  """Training batches.

  Args:
    examples: the whole split, in every process.
    batch_size: rows of a global batch; a multiple of process_count.
    buckets: lengths that batches are padded to; the last holds every example.
    seed: of the order.
    process_index, process_count: which contiguous slice is made here.
    order: own orders by epoch, as set_order takes them.

  Raises:
    ValueError: sizes that do not fit each other.
  """
  return TrainBatches(
    examples,
    batch_size,
    buckets,
    process_index,
    process_count,
    seed=seed,
    order=order,
  )


class EvalBatches(_Cut):
  """A split once through, sorted by length; a sequence of batches."""

  def __init__(self, *args, **kwargs):
    super().__init__(*args, **kwargs)
    lengths = self.examples.lengths
    self._order = np.argsort(-lengths, kind='stable')

  def __len__(self) -> int:
    return -(-self.num_examples // self.batch_size)

  def __getitem__(self, i: int) -> Batch:
    if not 0 <= i < len(self):
      raise IndexError(f'batch {i} of {len(self)}')
    rows = self._order[i * self.batch_size : (i + 1) * self.batch_size]
    return self.local(_fill(rows, self.batch_size))

  def __iter__(self) -> Iterator[Batch]:
    return (self[i] for i in range(len(self)))


def eval_batches(
  examples: Examples,
  batch_size: int,
  buckets: Sequence[int],
  *,
  process_index: int = 0,
  process_count: int = 1,
) -> EvalBatches:
  """Batches in which every example occurs once; arguments as above."""
  return EvalBatches(
    examples, batch_size, buckets, process_index, process_count
  )


def throughput(batches: TrainBatches, seconds: float = 1.0) -> dict:
  """Measures how fast batches are made and handed over.

  Returns:
    examples_per_second, tokens_per_second (real tokens), batches_per_second,
    and pad_share: the share of positions that is padding.
  """
  feed: Any = batches.iterate()
  next(feed)  # the import and start of grain are not the pipeline's speed
  begin, count, rows, tokens, positions = time.perf_counter(), 0, 0, 0, 0
  while (spent := time.perf_counter() - begin) < seconds:
    batch = next(feed)
    count += 1
    rows += int(batch['weight'].sum())
    tokens += int(batch['attention_mask'].sum())
    positions += batch['attention_mask'].size
  feed.close()
  batches._served = 0
  return {
    'examples_per_second': rows / spent,
    'tokens_per_second': tokens / spent,
    'batches_per_second': count / spent,
    'pad_share': 1 - tokens / positions,
  }
