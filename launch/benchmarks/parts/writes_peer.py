"""The peer: `generate` of `transformers`, with its cache."""

from launch.benchmarks.parts import worker


def main() -> None:
  """Serves write and device."""
  settings = worker.settings()
  worker.serve(Side(settings), ('write', 'device'))


class Side:
  """A decoder with the weights of a folder, in float32."""

  def __init__(self, settings):
    import torch
    import transformers

    self.torch = torch
    torch.set_num_threads(settings['threads'])
    cls = transformers.AutoModelForCausalLM
    model = cls.from_pretrained(settings['weights'], dtype=torch.float32)
    self.model = model.eval()

  def write(self, rows: int, prompt: int, tokens: int) -> float:
    """Returns the seconds of writing `tokens` after each of the prompts."""
    batch = worker.prompts(rows, prompt, self.model.config.vocab_size)
    inputs = {k: self.torch.from_numpy(x).long() for k, x in batch.items()}

    def write(inputs):
      with self.torch.inference_mode():
        found = self.model.generate(
          **inputs,
          do_sample=False,
          max_new_tokens=tokens,
          eos_token_id=None,
          pad_token_id=0,
        )
      if found.shape != (rows, prompt + tokens):
        raise RuntimeError(f'the peer gave {tuple(found.shape)} tokens')

    return worker.timed(write, [inputs], 1)

  def device(self) -> str:
    """Returns what it runs on."""
    return f'cpu, torch {self.torch.__version__}'


if __name__ == '__main__':
  main()
