"""The peer: `transformers` and PyTorch, as their documentation says."""

from launch.benchmarks.parts import worker


def main() -> None:
  """Serves train, infer, products and device."""
  settings = worker.settings()
  side = Side(settings)
  worker.serve(side)


class Side:
  """BertForSequenceClassification, fused AdamW, clipping of the norm."""

  def __init__(self, settings):
    import torch
    import transformers

    from launch.benchmarks import glue_peer

    self.torch = torch
    torch.set_num_threads(settings['threads'])
    torch.manual_seed(0)
    cls = transformers.BertForSequenceClassification
    if settings['weights']:
      self.model = cls.from_pretrained(settings['weights'], num_labels=2)
    else:
      sizes = dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12)
      config = transformers.BertConfig(**sizes, intermediate_size=1536)
      self.model = cls(config)
    self.optimizer = glue_peer.make_optimizer(self.model)

  def _tensors(self, batch):
    names = ('input_ids', 'attention_mask', 'token_type_ids', 'labels')
    return {name: self.torch.from_numpy(batch[name]).long() for name in names}

  def train(self, paths: list[str], repeat: int = 1) -> float:
    """Returns the seconds of training steps on batches."""
    self.model.train()

    def run(batch):
      loss = self.model(**self._tensors(batch)).loss
      loss.backward()
      self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
      self.optimizer.step()
      self.optimizer.zero_grad()
      loss.item()

    return worker.timed(run, worker.load_batches(paths), repeat)

  def infer(self, paths: list[str], repeat: int = 1) -> float:
    """Returns the seconds of forward passes on batches."""
    self.model.eval()

    def run(batch):
      tensors = self._tensors(batch)
      tensors.pop('labels')
      with self.torch.inference_mode():
        self.model(**tensors).logits.numpy()

    return worker.timed(run, worker.load_batches(paths), repeat)

  def products(self, rows: int, sizes: dict) -> list[tuple[float, float]]:
    """Returns (seconds, operations) of each product of a step, all counts."""
    result = []
    for count, left, right, spec in worker.product_shapes(rows, sizes):
      x, y = (self.torch.randn(shape) for shape in (left, right))

      def run(spec=spec, x=x, y=y):
        return self.torch.einsum(spec, x, y)

      work = worker.operations(left, right, spec)
      result.append((count * worker.best_time(run), count * work))
    return result

  def device(self) -> str:
    """Returns the device and the version of the library."""
    return f'cpu, torch {self.torch.__version__}'


if __name__ == '__main__':
  main()
