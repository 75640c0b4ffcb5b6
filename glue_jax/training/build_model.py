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
    ValueError: sizes are given that come from the weights, the tokenizer lacks
      a token that the family reads, or it has more tokens than the model has
      rows.
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
    given = _of_tokenizer(given['name'], bundle.tokenizer) | given
  module = models.build(
    kind=network.head or bundle.task.form,
    num_outputs=by_name.num_outputs(bundle.task),
    **given,
  )
  if module.shape == 'seq2seq':
    _check_end(module, bundle.tokenizer)
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


def _of_tokenizer(name: str, tokenizer: Any) -> dict[str, Any]:
  """What a family's fresh model is given of the tokenizer."""
  shape = getattr(models.family(name), 'SHAPE', 'encoder')
  given = {'vocab_size': tokenizer.vocab_size, 'pad_id': tokenizer.pad_id}
  if shape == 'encoder':
    return given | {'special_ids': (tokenizer.cls_id, tokenizer.sep_id)}
  return given | ({'end_id': tokenizer.end_id} if shape == 'seq2seq' else {})


def _check_end(module: Any, tokenizer: Any) -> None:
  """Refuses texts without the end token that an encoder-decoder reads.

  Raises:
    ValueError: the tokenizer puts none at the end of a text, or another one.
  """
  end = module.config.end_id
  last = tokenizer.encode(['a'], max_length=64).ids[-1]
  if end != last:
    names = {i: token for token, i in tokenizer.vocab.items()}
    raise ValueError(
      f'{module.family} reads the end of a text off token {end} '
      f'({names.get(end)!r}), but the tokenizer ends it with {last} '
      f'({names.get(last)!r}); give the tokenizer of the weights, with its end '
      'token in the template of tokenizer.json'
    )
