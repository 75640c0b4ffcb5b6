"""LaMDA's assumption: useful input directions are those that dominate W.

W in R^{48x48} has the spectrum 3 exp(-i / 10); r = 8, 1024 Gaussian inputs,
Adam 1e-2, 1500 steps, eta 0.3. Three changes of W are learnt: inside its top-r
spectral subspace, from its dominant input directions to new outputs, and a
random one of rank 8. Errors on new inputs are relative to W alone, beside the
mean number of parameters that a step updates. Required: in the first two LaMDA
is at most 0.01 with 6.0 times fewer updates than LoRA; in the second, S alone
is at least 0.7. The third row is the limit of a frozen A.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

from glue_jax import tree
from glue_jax.peft import lamda, lora
from launch.miniatures.parts import verdict

FLAGS = flags.FLAGS
SIZE, RANK, ALPHA, ROWS, STEPS, ETA = 48, 8, 8.0, 1024, 1500, 0.3
SITE = 'layer'
# Arm -> (initialisation, eta); LoRA has neither.
ARMS = {
  'LoRA': None,
  'LaMDA': ('svd_residual', ETA),
  'S only': ('svd_residual', 0.0),
  'released init': ('released', ETA),
}
CHANGES = ('inside top-r subspace', 'new outputs', 'random low rank')


def define_flags() -> None:
  """The flags of this miniature."""
  flags.DEFINE_integer('seeds', 2, 'runs of each arm')


def main(argv: list[str]) -> bool:
  """Prints the table; returns whether the required figures were reached."""
  del argv
  if FLAGS.seeds < 1:
    raise app.UsageError(f'--seeds={FLAGS.seeds}: expected 1 or more')
  updates = {name: updated(arm) for name, arm in ARMS.items()}
  errors = {
    (change, name): [run(change, arm, seed) for seed in range(FLAGS.seeds)]
    for change in CHANGES
    for name, arm in ARMS.items()
  }
  heads = (f'{name} ({updates[name]:.0f})' for name in ARMS)
  print(f'{"target change":<24}', *(f'{head:>20}' for head in heads))
  for change in CHANGES:
    cells = (errors[change, name] for name in ARMS)
    spans = (f'{min(cell):.3f} - {max(cell):.3f}' for cell in cells)
    print(f'{change:<24}', *(f'{span:>20}' for span in spans))
  ratio = updates['LoRA'] / updates['LaMDA']
  first, second, _ = CHANGES
  print(f'{ratio:.1f} times fewer updates')
  worst = max(errors[first, 'LaMDA'] + errors[second, 'LaMDA'])
  alone = min(errors[second, 'S only'])
  return verdict.say(
    verdict.Bound('error of LaMDA', worst, '<=', 0.01),
    verdict.Bound('error of S only, new outputs', alone, '>=', 0.7),
    verdict.Bound('times fewer updates', round(ratio, 1), '>=', 6.0),
  )


def updated(arm: tuple[str, float] | None) -> float:
  """Parameters that a step updates, on average."""
  if arm is None:
    return RANK * 2 * SIZE

  def steps_of(rank):
    return lamda.freezing_steps(rank, STEPS, arm[1])

  return lamda.updated_parameters({SITE: (RANK, SIZE)}, steps_of, STEPS)


def matrices(change: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns W and its change, (SIZE, SIZE) each, inputs first."""
  rng = np.random.default_rng(seed)

  def draw(*shape):
    return rng.normal(size=shape)

  v, u = (np.linalg.qr(draw(SIZE, SIZE))[0] for _ in range(2))
  weight = v * (3 * np.exp(-np.arange(SIZE) / 10)) @ u.T
  if change == CHANGES[0]:
    delta = v[:, :RANK] @ draw(RANK, RANK) @ u[:, :RANK].T
  elif change == CHANGES[1]:
    delta = v[:, :RANK] @ draw(RANK, SIZE) / SIZE**0.5
  else:
    delta = draw(SIZE, RANK) @ draw(RANK, SIZE) / SIZE
  return weight, delta


def run(change: str, arm: tuple[str, float] | None, seed: int) -> float:
  """The error of one arm on new inputs, relative to W alone."""
  weight, delta = matrices(change, seed)
  key = jax.random.key(seed)
  a, s = (jax.random.fold_in(key, i) for i in (1, 2))
  if arm is None:
    zeros = jnp.zeros((RANK, SIZE))
    leaves = dict(lora_a=lora.initial_a(a, (SIZE, RANK)), lora_b=zeros)
    leaves['kernel'] = weight
  elif arm[0] == 'released':
    bound = RANK**-0.5
    leaves = dict(
      lamda_a=lora.initial_a(a, (SIZE, RANK)),
      lamda_s=jax.random.uniform(s, (RANK, RANK), minval=-bound, maxval=bound),
      lamda_b=jnp.zeros((RANK, SIZE)),
      kernel=weight,
    )
  else:
    leaves = lamda.decompose(weight, RANK, ALPHA, arm[0])
  leaves = {name: jnp.asarray(x, jnp.float32) for name, x in leaves.items()}
  target = jnp.asarray(weight + delta, jnp.float32)
  eta = None if arm is None else arm[1]
  return float(
    trained(eta, leaves, target, key) / np.square(delta).sum() * SIZE
  )


@functools.partial(jax.jit, static_argnums=0)
def trained(
  eta: float | None, leaves: dict, target: jax.Array, key: jax.Array
) -> jax.Array:
  """Trains the leaves; returns the mean square by which the layer misses.

  Args:
    eta: of LaMDA; None for LoRA.
    leaves: of the layer, kernel included.
    target: (SIZE, SIZE), inputs first.
    key: of the inputs.
  """
  if eta is None:
    learning, optimizer = ('lora_a', 'lora_b'), optax.adam(1e-2)
  else:
    learning = ('lamda_s', 'lamda_b')
    optimizer = lamda.freeze_gradually(
      optax.adam(1e-2),
      SITE,
      lambda rank: lamda.freezing_steps(rank, STEPS, eta),
    )
  params, frozen = tree.partition(
    {SITE: leaves}, lambda name: name.endswith(learning)
  )
  train_x, test_x = jax.random.normal(key, (2, ROWS, SIZE))
  factor = lora.scale(RANK, ALPHA, rank_stabilised=False)

  def missed(params, x):
    whole = tree.merge(params, frozen)
    merged = (
      lora.merge(whole, factor) if eta is None else lamda.merge(whole, ALPHA)
    )
    return jnp.square(x @ (merged[SITE]['kernel'] - target)).mean()

  def step(carry, _):
    params, state = carry
    grads = jax.grad(missed)(params, train_x)
    updates, state = optimizer.update(grads, state, params)
    return (optax.apply_updates(params, updates), state), None

  start = params, optimizer.init(params)
  (params, _), _ = jax.lax.scan(step, start, length=STEPS)
  return missed(params, test_x)
