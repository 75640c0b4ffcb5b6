"""Which network a config asks for."""

from collections.abc import Mapping
from typing import Any

from glue_jax.data.bundle import DataBundle
from glue_jax.data.tasks import by_name
from glue_jax.models import model as models
from glue_jax.training.sections import Network


def make_model(
  network: Network, sizes: Mapping[str, Any], bundle: DataBundle
) -> Any:
  """Returns the module; sizes come from a preset or from the weights.

  Args:
    network: the config's section.
    sizes: those of its weights; without weights they are not looked at.
    bundle: fixes the head, unless the section names one, and the vocabulary of
      a preset.

  Raises:
    ValueError: sizes are given that come from the weights, the tokenizer is a
      decoder's, or it has more tokens than the model has rows.
  """
  given = dict(network.sizes)
  if network.weights:
    clash = {'preset', 'vocab_size'} & given.keys()
    if clash:
      raise ValueError(
        f'config.model: {sorted(clash)} come from model.weights='
        f'{network.weights!r}; leave them out, or take back what the recipe '
        f'says: --config.model.{min(clash)}=None'
      )
    # A name given is that of another family of the same sizes.
    given = {**sizes, **given}
  else:
    given.setdefault('vocab_size', bundle.tokenizer.vocab_size)
    given.setdefault('pad_id', bundle.tokenizer.pad_id)
    special = (bundle.tokenizer.cls_id, bundle.tokenizer.sep_id)
    given.setdefault('special_ids', special)
  module = models.build(
    kind=network.head or bundle.task.kind,
    num_outputs=by_name.num_outputs(bundle.task),
    **given,
  )
  rows = module.config.vocab_size
  if bundle.tokenizer.vocab_size > rows:
    without = sorted(t for t, i in bundle.tokenizer.vocab.items() if i >= rows)
    raise ValueError(
      f'the tokenizer has {bundle.tokenizer.vocab_size} tokens, the model only '
      f'{rows} rows: none for {", ".join(map(repr, without[:5]))}; give the '
      'tokenizer of the weights, or take tokens that were added without '
      'training out of added_tokens.json and tokenizer_config.json'
    )
  return module
