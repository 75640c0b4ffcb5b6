"""The side of this project: `generation.generate`, one program a shape."""

from launch.benchmarks.parts import worker


def main() -> None:
  """Serves write and device."""
  settings = worker.settings()
  from glue_jax.devices import cpu

  cpu.keep_memory()
  worker.serve(Side(settings), ('write', 'device'))


class Side:
  """A decoder with the weights of a folder."""

  def __init__(self, settings):
    import jax

    from glue_jax.models import model as models
    from glue_jax.plugs import Apply
    from glue_jax.weights import huggingface

    self.jax = jax
    name, config, _ = huggingface.read_hf_config(settings['weights'])
    self.model = models.build(name, kind='causal_lm', config=config)
    params, _ = huggingface.load_hf(settings['weights'], self.model)
    self.params = jax.device_put(params)
    self.apply = Apply(self.model)
    self.programs = {}

  def write(self, rows: int, prompt: int, tokens: int) -> float:
    """Returns the seconds of writing `tokens` after each of the prompts."""
    batch = worker.prompts(rows, prompt, self.model.config.vocab_size)
    run = self.programs.setdefault(tokens, self._program(tokens))

    def write(batch):
      self.jax.device_get(run(self.params, batch))

    return worker.timed(write, [batch], 1)

  def _program(self, tokens):
    import functools

    from glue_jax.devices import cpu
    from glue_jax.generation import generate
    from glue_jax.generation.settings import Settings

    # No token has the id of this end: all rows have the same length.
    run = functools.partial(
      generate.generate,
      self.apply,
      settings=Settings(max_new_tokens=tokens),
      end_ids=(-1,),
      pad_id=0,
    )
    return self.jax.jit(run, compiler_options=cpu.compiler_options())

  def device(self) -> str:
    """Returns what it runs on."""
    return self.jax.devices()[0].device_kind


if __name__ == '__main__':
  main()
