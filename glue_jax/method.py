"""Method and Objective: the records of pure functions that a run is made of.

A method (LoRA, GaLore, distillation, ...) is a `Method`; the loop knows nothing
else about it; `training/compose.py` joins several into one. An `Objective` says
what is minimised and what is predicted; pre-training, fine-tuning, distillation
and reinforcement learning differ only there.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from glue_jax import tree
from glue_jax.plugs import Apply, Plug

# (apply, params, batch, rng) -> (mean loss (), {name: (sum (), count ())}).
# 'loss' must be among the metrics; its count is what the mean was taken over,
# so that accumulated micro-batches give the gradient of the one big batch.
Loss = Callable[..., tuple[jax.Array, dict[str, tuple[Any, Any]]]]
# The pattern of the leaves of a model's head, where it has any.
HEAD = 'head/.*'


@dataclasses.dataclass(frozen=True)
class Companion:
  """A second network beside the model: a generator, a teacher.

  One that learns has its leaves in the whole tree, under its name, and is
  called as `apply.companions[name](params[name], batch, ...)`; the tree of one
  that doesn't is `apply.frozen[name]`. Plugs and weights of the model play no
  part in it; its leaves are placed by its own module's rules.

  Attributes:
    apply: its module, bound.
    weights: its tree; None = drawn from the seed.
    learns: whether its leaves do. One that doesn't is a teacher: no gradient
      flows into its tree.
    keep: its leaves leave with the finished model, beside those of the plain
      one; else they are dropped.
  """

  apply: Apply
  weights: tree.Tree | None = None
  learns: bool = True
  keep: bool = False

  def __post_init__(self):
    if not self.learns and self.weights is None:
      raise ValueError('a companion that does not learn needs weights')
    if not self.learns and self.keep:
      raise ValueError(
        'a companion that does not learn is not kept: it lies in its source'
      )


@dataclasses.dataclass(frozen=True)
class Phase:
  """One of several updates that a step makes in turn.

  Attributes:
    loss: `(apply, params, batch, rng) -> (loss, metrics, carry)`; as `Loss`,
      and carry is {name: (B, ...) array} for the batches of later phases, where
      it stands in for fields of its names. No gradient flows through it.
    learns: patterns of the leaves that the phase moves, if they learn at all.
      Its optimizer sees their gradients only, so it clips them apart.
    repeat: how many updates in a row, each from the whole batch; the carry is
      the last one's.
  """

  loss: Callable[..., tuple[jax.Array, dict[str, Any], dict[str, Any]]]
  learns: tuple[str, ...] = ('.*',)
  repeat: int = 1


@dataclasses.dataclass(frozen=True)
class Objective:
  """What is minimised, and what is predicted.

  Attributes:
    loss: `(apply, params, batch, rng) -> (loss, metrics)`, see `Loss`.
    predict: `(apply, params, batch) -> {name: (B, ...) array}`, without
      dropout; one row an example.
    facts: JSON values for the run's record, that no config states.
    method: what it brings along (a teacher, a generator, plugs, leaves),
      composed before the config's methods; None = nothing.
    phases: {name: phase}, in order; what a step does in place of one update by
      the gradient of `loss`, which then is what probes measure. Each has an
      optimizer of its own, `config.optimizer` with the changes of
      `config.optimizer.phases[name]`.
    terms: {metric: weight}: parts of the loss that are the mean of a metric
      with another count than the loss's, so that they too add up over
      micro-batches. Not of phases.
    columns: further columns of rows and tokens that it reads; a run whose data
      brings others is refused.
  """

  loss: Loss
  predict: Callable[[Apply, tree.Tree, Mapping], dict[str, jax.Array]]
  facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  method: 'Method | None' = None
  phases: Mapping[str, Phase] = dataclasses.field(default_factory=dict)
  terms: Mapping[str, float] = dataclasses.field(default_factory=dict)
  columns: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Tuned:
  """A finished run with the leaves that its methods added.

  Attributes:
    methods: {name: all of its settings}, in order.
    config: the encoder's sizes.
    params: the whole tree, on the host.
    labels: names of the classes in the order of its head's rows; None where
      they aren't known.
  """

  methods: Mapping[str, Mapping[str, Any]]
  config: Any
  params: tree.Tree
  labels: Sequence[str] | None = None


@dataclasses.dataclass(frozen=True)
class Context:
  """What a method's or objective's `make(ctx, **config)` may look at.

  Attributes:
    task: the task record.
    tokenizer: of the run (special ids, vocabulary size).
    model: the module, with its config.
    steps_per_epoch, total_steps: of the run.
    load: (source) -> (Apply, params): another finished model of this task, from
      its workdir, `'stage:<name>'`, a Hugging Face folder or a name of the hub.
      The rows of its head are in the order of the task's labels, and its ids
      stand for the tokenizer's tokens; else it is refused. With
      `headless=True` any head will do, or none: its hidden states are wanted.
    load_tuned: a workdir's model with the leaves of its methods.
    load_arrays: (path of an .npz) -> {name: array}. Values of all three are
      zeros where a checkpoint is going to replace what is made of them.
    lengths: padded lengths that batches have.
    label_counts: () -> how often each label is among the training rows; None
      where a run is only opened and none are read.
  """

  task: Any
  tokenizer: Any
  model: Any
  steps_per_epoch: int
  total_steps: int
  load: Callable[..., tuple[Apply, tree.Tree]]
  load_tuned: Callable[[str], Tuned]
  load_arrays: Callable[[str], dict[str, Any]]
  label_counts: Callable[[], Any] | None = None
  lengths: tuple[int, ...] = ()


@dataclasses.dataclass
class Host:
  """What hooks see and may change between steps, on the host.

  Attributes:
    train_data: the training batches; `set_order(epoch, order)` hands over a
      new order of the examples, which may make the epoch shorter or longer.
      None outside training.
    steps_per_epoch, total_steps: of the run as it was planned; schedules keep
      to them, and the run ends with its last epoch.
    state: the TrainState (to be read).
    step: finished steps.
    epoch: epoch of the next step.
    variant: {name: JSON value that hashes}; what a hook writes here chooses
      the program of the next step. Saved.
    memory: {name: JSON value}: a hook's own notes. Saved.
    metrics: newest evaluation, {split: {metric: value}}. Saved.
    stop: the run ends after this step, though it is not the last one. Saved.
    labelled: the variant that the state is split by.
    evaluate: () -> {split: {metric: value}}, on the current parameters.
    predict: (split) -> its `Predictions`, on the parameters that are evaluated;
      of the training split (''), too.
    program: (name, fn) -> a function of this process's batch and whatever else
      `fn` takes: `fn(apply, params, batch, ...) -> {name: (B, ...) array}` on
      the parameters as they train, compiled once for a name and variant (the
      newest few are kept). It returns this process's rows, as numpy.
    key: () -> typed key for the next step, apart from those that are used in
      it.
    tokenizer: of the run.
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
  stop: bool = False
  labelled: tuple = ()
  evaluate: Callable[[], dict] = dict
  predict: Callable[[str], Any] | None = None
  program: Callable[[str, Callable], Callable] | None = None
  key: Callable[[], jax.Array] | None = None
  tokenizer: Any = None


@dataclasses.dataclass(frozen=True)
class Hook:
  """Host code between steps; each is `(Host) -> None` or absent.

  A config may bring its own; what they may do: training/own_hooks.py.
  """

  before_epoch: Callable[[Host], None] | None = None
  before_step: Callable[[Host], None] | None = None
  after_eval: Callable[[Host], None] | None = None


@dataclasses.dataclass(frozen=True)
class Method:
  """A frozen record of pure functions; what is absent is the identity.

  The fields stand in the order in which a run calls them; methods/README.md
  says by whom and where.

  Attributes:
    name: shown in messages and the run record.
    shape: (config, variant) -> config, wherever the model is called; which
      network a variant runs, on leaves that the whole model has. ValueError
      for one that there isn't.
    variants: keys of the variant that `shape` reads and a finished run may be
      evaluated and exported by, with another value than in training.
    plugs: wrappers at named places inside the model; their leaves are added.
    companions: {name: a second network}; the leaves of those that learn are
      added under the name, before the surgery.
    surgery: (rng, params) -> params, once, before the split.
    wrap_tx: (tx) -> tx, an optax transform.
    revisits: frozen leaves may learn again. The optimizer's state of frozen
      leaves is kept meanwhile, and counts its steps leaf by leaf.
    forbids: patterns of leaves that no other method may add.
    learns: (names, variant) -> names of the leaves that it trains, of the
      model's and its own; the model's others stay as they are unless another
      method trains them. Absent: its own leaves, and no say on the model's.
    turns: (names) -> names that it lets learn in turn; the run must train them.
    holds: (names, variant) -> names that it keeps from learning: not (or no
      longer) their turn, or in a form that can't.
    init_extra: (rng, params) -> {name: tree}; read as `apply.extra[name]`.
    init_frozen: (rng) -> {name: tree}; read as `apply.frozen[name]`.
    calibrate: (apply, params, batches) -> (params, {name: tree}), once before
      the first step: leaves of the same names and shapes, and values for trees
      that `init_extra` has begun. `apply` holds the state as it begins;
      `batches()` gives those of the first epoch, placed on the devices.
    hooks: host code between steps.
    collect: (host, batch) -> batch, before each step, on this process's rows in
      numpy: what is sampled, decoded, scored. A function of the state, the
      step and the host's `key()`, as nothing of it is saved.
    prepare: (apply, params, batch, rng) -> batch, inside the step, before the
      gradient; no gradient flows through it.
    reparam: (params, step, rng) -> params, inside the step, differentiated
      through; `rng` is None outside training.
    wrap_loss: (Loss) -> Loss.
    update_extra: (extra, params, metrics) -> extra, after the update, inside
      the step; `params` is the whole updated tree.
    evaluates: (params, slots) -> params that are evaluated and exported in
      place of those that learn; `slots` is {path: leaf} of the optimizer's
      state, {} where it is gone and they are in place already.
    truncate: (params, rank) -> params of the same shapes; what a smaller rank
      of the finished low-rank leaves stands for.
    export: (params) -> params; the tree of the plain model.
  """

  name: str
  shape: Callable | None = None
  variants: tuple[str, ...] = ()
  plugs: tuple[Plug, ...] = ()
  companions: Mapping[str, Companion] = dataclasses.field(default_factory=dict)
  surgery: Callable | None = None
  wrap_tx: Callable | None = None
  revisits: bool = False
  forbids: tuple[str, ...] = ()
  learns: Callable | None = None
  turns: Callable | None = None
  holds: Callable | None = None
  init_extra: Callable | None = None
  init_frozen: Callable | None = None
  calibrate: Callable | None = None
  hooks: tuple[Hook, ...] = ()
  collect: Callable | None = None
  prepare: Callable | None = None
  reparam: Callable | None = None
  wrap_loss: Callable[[Loss], Loss] | None = None
  update_extra: Callable | None = None
  evaluates: Callable | None = None
  truncate: Callable | None = None
  export: Callable | None = None


@dataclasses.dataclass(frozen=True)
class Facts:
  """What is true of a method, or an objective: the record `FACTS` in its file.

  The laws, the matrix and the folders of `peft` read it; a run doesn't.

  Attributes:
    small: arguments for a model of width 16; capitals, here and in `needs`,
      stand for files that the laws' tests make.
    needs: {section of the config: settings} that it works with only.
    identity: the model is the plain one before the first step.
    still: patterns of learning leaves that rightly don't move in the first
      steps.
    sizes: ((arguments, encoder's config -> size of what learns beside the
      head), ...).
    axis, cell: axis of configs/suites/matrix.py ('tune', 'regularizer'; '' =
      none), and the arguments there.
    refuses: {words of the error, a pattern: parts that it doesn't go with}.
    arms: {name: further arguments}: forms of the method that the laws hold for
      too; with `identity` they start as the plain model but for rounding.
    unequal: of an objective: why accumulated micro-batches don't give the
      gradient of the one large batch; '' = they do.
    peft_type: its name in folders of `peft`, whose form is
      `weights/peft_forms/<name>.py`.
  """

  small: Mapping[str, Any]
  needs: Mapping[str, Mapping] = dataclasses.field(default_factory=dict)
  identity: bool = False
  still: tuple[str, ...] = ()
  sizes: tuple[tuple[Mapping, Callable[[Any], int]], ...] = ()
  axis: str = ''
  cell: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  refuses: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
  arms: Mapping[str, Mapping] = dataclasses.field(default_factory=dict)
  unequal: str = ''
  peft_type: str = ''


def matching(*patterns: str) -> Callable[..., set[str]]:
  """For `learns` and `holds`: the names that match.

  `HEAD` may match none: a head over the words that is the table of the words
  (`tie_word_embeddings`) has no leaf of its own.

  What it returns raises ValueError if another pattern matches no name.
  """

  def chosen(names, _):
    headless = not any(tree.matches(HEAD, name) for name in names)
    return tree.match((p for p in patterns if p != HEAD or not headless), names)

  return chosen
