"""Method and Objective: the records of pure functions that a run is made of.

A method (LoRA, GaLore, distillation, ...) is a `Method`; the loop knows nothing
else about it. `compose` joins several into one. An `Objective` says what is
minimised and what is predicted; pre-training, fine-tuning, distillation and
reinforcement learning differ only there.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from glue_jax import tree
from glue_jax.models import initial
from glue_jax.plugs import Apply, Plug

# (apply, params, batch, rng) -> (mean loss (), {name: (sum (), count ())}).
# 'loss' must be among the metrics; its count is what the mean was taken over,
# so that accumulated micro-batches give the gradient of the one big batch.
Loss = Callable[..., tuple[jax.Array, dict[str, tuple[Any, Any]]]]


@dataclasses.dataclass(frozen=True)
class Objective:
  """What is minimised, and what is predicted.

  Attributes:
    loss: `(apply, params, batch, rng) -> (loss, metrics)`, see `Loss`.
    predict: `(apply, params, batch) -> {name: (B, ...) array}`, without
      dropout; one row an example.
  """

  loss: Loss
  predict: Callable[[Apply, tree.Tree, Mapping], dict[str, jax.Array]]


@dataclasses.dataclass(frozen=True)
class Tuned:
  """A finished run with the leaves that its methods added.

  Attributes:
    methods: {name: all of its settings}, in order.
    config: the encoder's sizes.
    params: the whole tree, on the host.
  """

  methods: Mapping[str, Mapping[str, Any]]
  config: Any
  params: tree.Tree


@dataclasses.dataclass(frozen=True)
class Context:
  """What a method's or objective's `make(ctx, **config)` may look at.

  Attributes:
    task: the task record.
    tokenizer: of the run (special ids, vocabulary size).
    model: the module, with its config.
    steps_per_epoch, total_steps: of the run.
    load: (source) -> (Apply, params): another finished model, from its workdir
      or 'stage:<name>'.
    load_tuned: the same with the leaves of its methods.
  """

  task: Any
  tokenizer: Any
  model: Any
  steps_per_epoch: int
  total_steps: int
  load: Callable[[str], tuple[Apply, tree.Tree]]
  load_tuned: Callable[[str], Tuned]


@dataclasses.dataclass
class Host:
  """What hooks see and may change between steps, on the host.

  Attributes:
    train_data: the training batches; `set_order(epoch, order)` hands over a
      new order of the examples. None outside training.
    steps_per_epoch, total_steps: of the run.
    state: the TrainState (to be read).
    step: finished steps.
    epoch: epoch of the next step.
    variant: {name: JSON value that hashes}; what a hook writes here chooses
      the program of the next step. Saved.
    memory: {name: JSON value}: a hook's own notes. Saved.
    metrics: newest evaluation, {split: {metric: value}}. Saved.
    labelled: the variant that the state is split by.
    evaluate: () -> {split: {metric: value}}, on the current parameters.
  """

  train_data: Any
  steps_per_epoch: int
  total_steps: int
  state: Any
  step: int = 0
  epoch: int = 0
  variant: dict[str, Any] = dataclasses.field(default_factory=dict)
  memory: dict[str, Any] = dataclasses.field(default_factory=dict)
  metrics: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
  labelled: tuple = ()
  evaluate: Callable[[], dict] = dict

  @property
  def finished(self) -> bool:
    """Whether the run ended before its last step."""
    return self.memory.get('patience', {}).get('finished', False)

  def out_of_patience(self, patience: int) -> bool:
    """Whether the loss hasn't fallen for `patience` evaluations in a row.

    Args:
      patience: see `schema.Schedule`; 0 = never.

    Raises:
      ValueError: there is no loss to go by.
    """
    if not patience:
      return False
    split, values = next(iter(self.metrics.items()), ('', {}))
    if 'loss' not in values:
      raise ValueError(
        f'config.train.patience={patience} needs the loss of the first '
        f'evaluation split; {split or "no split"} has {sorted(values)}'
      )
    note = self.memory.setdefault('patience', {'best': None, 'stale': 0})
    if note['best'] is None or values['loss'] < note['best']:
      note |= {'best': values['loss'], 'stale': 0}
    else:
      note['stale'] += 1
    note['finished'] = note['stale'] >= patience
    return note['finished']


@dataclasses.dataclass(frozen=True)
class Hook:
  """Host code between steps; each is `(Host) -> None` or absent."""

  before_epoch: Callable[[Host], None] | None = None
  before_step: Callable[[Host], None] | None = None
  after_eval: Callable[[Host], None] | None = None


@dataclasses.dataclass(frozen=True)
class Method:
  """A frozen record of pure functions; what is absent is the identity.

  Attributes:
    name: shown in messages and the run record.
    surgery: (rng, params) -> params, once, before the split.
    plugs: wrappers at named places inside the model; their leaves are added.
    reparam: (params, step, rng) -> params, inside the step, differentiated
      through; `rng` is None outside training.
    wrap_loss: (Loss) -> Loss.
    labels: (params, variant) -> tree of 'train' / 'frozen'.
    wrap_tx: (tx) -> tx, an optax transform.
    revisits: frozen leaves may learn again. The optimizer's state of frozen
      leaves is kept meanwhile, and counts its steps leaf by leaf.
    init_frozen: (rng) -> {name: tree}; read as `apply.frozen[name]`.
    init_extra: (rng, params) -> {name: tree}; read as `apply.extra[name]`.
    update_extra: (extra, params, metrics) -> extra, after the update, inside
      the step; `params` is the whole updated tree.
    prepare: (apply, params, batch, rng) -> batch, inside the step, before the
      gradient; no gradient flows through it.
    hooks: host code between steps.
    truncate: (params, rank) -> params of the same shapes; what a smaller rank
      of the finished low-rank leaves stands for.
    export: (params) -> params; the tree of the plain model.
  """

  name: str
  surgery: Callable | None = None
  plugs: tuple[Plug, ...] = ()
  reparam: Callable | None = None
  wrap_loss: Callable[[Loss], Loss] | None = None
  labels: Callable | None = None
  wrap_tx: Callable | None = None
  revisits: bool = False
  init_frozen: Callable | None = None
  init_extra: Callable | None = None
  update_extra: Callable | None = None
  prepare: Callable | None = None
  hooks: tuple[Hook, ...] = ()
  truncate: Callable | None = None
  export: Callable | None = None


@dataclasses.dataclass(frozen=True)
class Facts:
  """What tests and studies know of a method: `FACTS` in its file.

  Attributes:
    small: arguments for a model of width 16; capitals stand for files that
      tests/laws_test.py makes.
    needs: {section of the config: settings} that it works with only.
    identity: the model is the plain one before the first step.
    still: patterns of learning leaves that rightly don't move.
    sizes: ((arguments, encoder's config -> size of what learns beside the
      head), ...).
    axis, cell: of configs/suites/matrix.py, and the arguments there.
    refuses: {words of the error, a pattern: parts that it doesn't go with}.
    peft_type: its name in folders of `peft`.
  """

  small: Mapping[str, Any]
  needs: Mapping[str, Mapping] = dataclasses.field(default_factory=dict)
  identity: bool = False
  still: tuple[str, ...] = ()
  sizes: tuple[tuple[Mapping, Callable[[Any], int]], ...] = ()
  axis: str = ''
  cell: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  refuses: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
  peft_type: str = ''


def train_only(*patterns: str) -> Callable:
  """Labels: only leaves that match learn; raises if a pattern matches none."""
  return _labels_by_name(patterns, 'train', 'frozen')


def freeze(*patterns: str) -> Callable:
  """Labels: leaves that match are frozen; raises if a pattern matches none."""
  return _labels_by_name(patterns, 'frozen', 'train')


def _labels_by_name(patterns, inside, outside) -> Callable:
  def labels(params, variant):
    del variant
    hits = tree.match(patterns, tree.flatten(params))
    return tree.map_named(
      lambda name, _: inside if name in hits else outside, params
    )

  return labels


def compose(
  methods: Sequence[Method], owners: Mapping[str, str] | None = None
) -> Method:
  """Joins methods into one that applies them in order.

  Export folds them in the same order: the first one's plugs are innermost.
  Surgery is left out: `add_leaves` runs it, since who added a leaf matters.

  Args:
    methods: applied left to right.
    owners: {leaf: name of the method that added it}, from `add_leaves`. A leaf
      learns if its owner says so; one of the model's own learns only if every
      method says so.

  Raises:
    ValueError: a method twice, or two methods that use one frozen/extra name.
  """
  names = [m.name for m in methods]
  twice = sorted({n for n in names if names.count(n) > 1})
  if twice:
    raise ValueError(f'methods given twice: {twice}')
  owners = dict(owners or {})
  return Method(
    name='+'.join(names) or 'full fine-tuning',
    plugs=tuple(plug for m in methods for plug in m.plugs),
    reparam=_chain(methods, 'reparam'),
    wrap_loss=_chain(methods, 'wrap_loss'),
    labels=_labels(methods, owners),
    wrap_tx=_chain(methods, 'wrap_tx'),
    revisits=any(m.revisits for m in methods),
    init_frozen=_join(methods, 'init_frozen'),
    init_extra=_join(methods, 'init_extra'),
    update_extra=_chain(methods, 'update_extra'),
    prepare=_prepare(methods),
    hooks=tuple(hook for m in methods for hook in m.hooks),
    truncate=_chain(methods, 'truncate'),
    export=_chain(methods, 'export'),
  )


def add_leaves(
  rng: jax.Array,
  params: tree.Tree,
  apply: Apply,
  methods: Sequence[Method],
  batch: Mapping[str, Any],
) -> tuple[tree.Tree, dict[str, str]]:
  """Adds the leaves of every method's plugs, then runs its surgery, in order.

  The plugs' leaves come from initialising with the plugs and keeping the new
  names only: what the model already has is never touched.

  Args:
    rng: typed key.
    params: the model's tree.
    apply: the plain model.
    methods: in order.
    batch: an example batch (shapes are read, values aren't).

  Returns:
    (params, owners): the tree, and {new leaf: name of its method}.

  Raises:
    ValueError: two methods add one leaf name; a plug sits nowhere.
  """
  owners: dict[str, str] = {}
  plugs: tuple[Plug, ...] = ()
  plain = frozenset(tree.flatten(params))
  for i, method in enumerate(methods):
    key = jax.random.fold_in(rng, i)
    plugs += method.plugs
    if method.plugs:
      apply.replace(plugs=method.plugs).touched(batch)
      shapes = jax.eval_shape(
        apply.replace(plugs=method.plugs).init, key, batch
      )
      own = tree.flatten(shapes).keys() - plain
      taken = own & tree.flatten(params).keys()
      if taken:
        holder = {n: owners.get(n, 'the model') for n in sorted(taken)}
        raise ValueError(
          f'{method.name} adds leaves that are there already: {holder}; use '
          'one of the methods, or other targets'
        )
      # Shapes may depend on the plugs of earlier methods, so all are entered.
      init = apply.replace(plugs=plugs).init
      fresh = initial.draw(init, own, key, batch)
      params = tree.merge(params, tree.unflatten(fresh))
      owners |= dict.fromkeys(own, method.name)
    if method.surgery:
      before = tree.flatten(params).keys()
      params = method.surgery(jax.random.fold_in(key, 1), params)
      new = tree.flatten(params).keys() - before
      owners |= dict.fromkeys(new, method.name)
  return params, owners


def _chain(methods, field) -> Callable | None:
  fns = [getattr(m, field) for m in methods if getattr(m, field)]
  if not fns:
    return None

  def chained(value, *args):
    for fn in fns:
      value = fn(value, *args)
    return value

  return chained


def _prepare(methods) -> Callable | None:
  fns = [m.prepare for m in methods if m.prepare]
  if not fns:
    return None

  def prepare(apply, params, batch, rng):
    for i, fn in enumerate(fns):
      batch = fn(apply, params, batch, jax.random.fold_in(rng, i))
    return batch

  return prepare


def _join(methods, field) -> Callable | None:
  fns = [(m.name, getattr(m, field)) for m in methods if getattr(m, field)]
  if not fns:
    return None

  def joined(rng, *args):
    trees: dict[str, Any] = {}
    for i, (name, fn) in enumerate(fns):
      new = fn(jax.random.fold_in(rng, i), *args)
      twice = trees.keys() & new.keys()
      if twice:
        raise ValueError(f'{name}: {field} names {sorted(twice)} are in use')
      trees |= new
    return trees

  return joined


def _labels(methods, owners) -> Callable:
  def labels(params, variant):
    votes = {
      m.name: tree.flatten(m.labels(params, variant))
      for m in methods
      if m.labels
    }

    def label(name, _):
      if name in owners:
        # Its owner decides; an owner without labels wants its leaf to learn.
        return votes.get(owners[name], {}).get(name, 'train')
      learns = all(vote[name] == 'train' for vote in votes.values())
      return 'train' if learns else 'frozen'

    return tree.map_named(label, params)

  return labels
