"""The side of this project: its model, step, optimizer and compiler options."""

import types

from launch.benchmarks.parts import worker


def main() -> None:
  """Serves train, infer, products and device."""
  settings = worker.settings()
  from glue_jax.devices import cpu

  cpu.keep_memory()
  side = Side(settings)
  worker.serve(
    {
      'train': side.train,
      'infer': side.infer,
      'products': side.products,
      'device': side.device,
    }
  )


class Side:
  """MiniLM-L6 with a classification head, in the project's own step."""

  def __init__(self, settings):
    import jax
    import jax.numpy as jnp

    from glue_jax import plugs, tree
    from glue_jax.devices import cpu, sharding
    from glue_jax.models import model as models
    from glue_jax.objectives import task
    from glue_jax.optim import build as optim
    from glue_jax.training import compose, step
    from glue_jax.training.state import TrainState
    from glue_jax.weights import huggingface

    self.jax, self.cpu, self.sharding = jax, cpu, sharding
    model = models.build(
      'bert',
      'minilm_l6',
      kind='classification',
      num_outputs=2,
      # As in configs/glue.py.
      stack='first_token',
    )
    apply = plugs.Apply(model)
    self.mesh = sharding.make_mesh()
    self.key = jax.random.key(0)
    if settings['weights']:
      found, missing = huggingface.load_hf(settings['weights'], model)
      params = huggingface.fill_missing(found, missing, model, self.key)
    else:
      params = apply.init(self.key, models.example_batch(model))
    context = types.SimpleNamespace(
      task=types.SimpleNamespace(kind='classification')
    )
    objective = task.make(context)
    tx, _ = optim.make(total_steps=10**6, names=tree.flatten(params), warmup=0)
    build = lambda _: step.make_step(apply, objective, compose.compose([]), tx)
    self.programs = step.Programs(build)
    params = jax.tree.map(jnp.array, params)
    self.state = TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      frozen={'params': {}},
      opt_state=tx.init(params),
      extra={},
    )
    self.state = sharding.put_state(self.state, (), self.mesh)
    self.predict = jax.jit(
      lambda params, batch: objective.predict(apply, params, batch),
      compiler_options=cpu.compiler_options(),
    )

  def train(self, paths: list[str], repeat: int = 1) -> float:
    """Returns the seconds of training steps on batches."""

    def run(batch):
      batch = self.sharding.put_batch(batch, self.mesh)
      self.state, metrics = self.programs({}, self.state, batch, self.key)
      self.jax.block_until_ready((self.state, metrics))

    with self.sharding.enter(self.mesh):
      return worker.timed(run, worker.load_batches(paths), repeat)

  def infer(self, paths: list[str], repeat: int = 1) -> float:
    """Returns the seconds of forward passes on batches."""
    params = self.state.params

    def run(batch):
      batch = self.sharding.put_batch(batch, self.mesh)
      self.jax.device_get(self.predict(params, batch))

    with self.sharding.enter(self.mesh):
      return worker.timed(run, worker.load_batches(paths), repeat)

  def products(self, rows: int, sizes: dict) -> list[tuple[float, float]]:
    """Returns (seconds, operations) of each product of a step, all counts."""
    jax, result = self.jax, []
    options = self.cpu.compiler_options()
    for count, left, right, spec in worker.product_shapes(rows, sizes):
      x, y = (jax.random.normal(self.key, shape) for shape in (left, right))
      product = lambda a, b, spec=spec: jax.numpy.einsum(spec, a, b)
      fn = jax.jit(product, compiler_options=options)
      seconds = worker.best_time(lambda: fn(x, y).block_until_ready())  # noqa: B023
      work = worker.operations(left, right, spec)
      result.append((count * seconds, count * work))
    return result

  def device(self) -> str:
    """Returns the device and the version of the library."""
    device = self.jax.devices()[0]
    return f'{device.device_kind}, jax {self.jax.__version__}'


if __name__ == '__main__':
  main()
