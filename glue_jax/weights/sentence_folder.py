"""What a folder of `sentence-transformers` says of how texts become vectors.

`modules.json` lists what a text goes through: Transformer, Pooling, perhaps
Normalize, each with a folder of its own. Reimers & Gurevych 2019, arXiv
1908.10084. A folder without it is pooled as that library does with any other:
the mean of the tokens, as long as it comes.
"""

import dataclasses
import json
import pathlib
from typing import Any

from glue_jax.config.ranges import Count

MODULES = 'modules.json'
_SIZES = 'sentence_bert_config.json'
# Ways of pooling, by their key in the folder's config.json.
_POOLING = {
  'pooling_mode_mean_tokens': 'mean',
  'pooling_mode_cls_token': 'cls',
  'pooling_mode_max_tokens': 'max',
}
_DONE = ('Transformer', 'Pooling', 'Normalize', 'Dropout')


@dataclasses.dataclass(frozen=True)
class Sentences:
  """How a folder's texts become vectors.

  Attributes:
    model: folder of the encoder and its tokenizer.
    pooling: 'mean' or 'max' over the real tokens, or 'cls', the first one.
    normalize: vectors get the length 1.
    lower: texts are put in lower case before they are tokenised.
    max_length: longest text in tokens; None = what the encoder takes.
  """

  model: pathlib.Path
  pooling: str = 'mean'
  normalize: bool = False
  lower: bool = False
  max_length: Count | None = None


def read(folder: pathlib.Path) -> Sentences:
  """Reads a folder, of that library or any other.

  Raises:
    ValueError: it asks for a module or a way of pooling that isn't done here.
  """
  if not (folder / MODULES).is_file():
    return Sentences(folder)
  modules = {}
  for module in _json(folder / MODULES):
    kind = str(module['type']).rpartition('.')[2]
    if kind not in _DONE:
      raise ValueError(
        f'{folder / MODULES}: module {kind!r} is not done here; expected '
        f'{", ".join(_DONE)}'
      )
    modules[kind] = folder / module['path']
  model = modules.get('Transformer', folder)
  sizes = _json(model / _SIZES) if (model / _SIZES).is_file() else {}
  pooling = 'mean'
  if 'Pooling' in modules:
    pooling = _pooling(modules['Pooling'] / 'config.json')
  return Sentences(
    model,
    pooling,
    'Normalize' in modules,
    bool(sizes.get('do_lower_case', False)),
    sizes.get('max_seq_length'),
  )


def _pooling(path: pathlib.Path) -> str:
  content = _json(path)
  if 'pooling_mode' in content:
    names = content['pooling_mode']
    names = [names] if isinstance(names, str) else list(names)
  else:
    names = [
      _POOLING.get(key, key)
      for key, on in content.items()
      if key.startswith('pooling_mode_') and on
    ]
  if len(names) != 1 or names[0] not in _POOLING.values():
    raise ValueError(
      f'{path}: pooling {names} is not done here; expected one of '
      f'{sorted(_POOLING.values())}'
    )
  return names[0]


def _json(path: pathlib.Path) -> Any:
  try:
    return json.loads(path.read_text(encoding='utf-8'))
  except (OSError, ValueError) as error:
    raise ValueError(f'{path} cannot be read: {error}') from None
