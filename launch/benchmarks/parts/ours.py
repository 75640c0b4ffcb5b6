"""The side of this project: its model, step, optimizer and compiler options."""

from launch.benchmarks.parts import worker


def main() -> None:
  """Serves train, infer, products and device."""
  settings = worker.settings()
  from glue_jax.devices import cpu

  cpu.keep_memory()
  side = Side(settings)
  worker.serve(side)


class Side:
  """MiniLM-L6 with a classification head, begun as every run is."""

  def __init__(self, settings):
    import jax

    from glue_jax.config import config as config_lib
    from glue_jax.devices import cpu, sharding
    from glue_jax.training.begin import begin

    self.jax, self.cpu, self.sharding = jax, cpu, sharding
    weights = settings['weights']
    network = dict(name='bert', preset='minilm_l6', vocab_size=30522)
    if weights:
      network = dict(weights=weights)
    config = config_lib.complete(
      dict(
        # Two classes; its rows are not trained on, but those of the parent.
        task=dict(name='mini_sentiment'),
        data=dict(tokenizer=weights or 'train', train_limit=32, eval_splits=()),
        # As in configs/glue.py.
        model=network | {'stack': 'first_token'},
        optimizer=dict(warmup=0),
        train=dict(steps=10**6),
      )
    )
    self.run = begin(config, 0)
    self.mesh, apply = self.run.parts.mesh, self.run.parts.apply
    self.predict = jax.jit(
      lambda params, batch: self.run.parts.objective.predict(
        apply, params, batch
      ),
      compiler_options=cpu.compiler_options(),
    )

  def train(self, paths: list[str], repeat: int = 1) -> float:
    """Returns the seconds of training steps on batches."""

    def run(batch):
      metrics = self.run.step(batch)
      self.jax.block_until_ready((self.run.host.state, metrics))

    with self.sharding.enter(self.mesh):
      return worker.timed(run, worker.load_batches(paths), repeat)

  def infer(self, paths: list[str], repeat: int = 1) -> float:
    """Returns the seconds of forward passes on batches."""
    params = self.run.host.state.params

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
      x, y = (jax.random.normal(self.run.key, shape) for shape in (left, right))

      def product(a, b, spec=spec):
        return jax.numpy.einsum(spec, a, b)

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
