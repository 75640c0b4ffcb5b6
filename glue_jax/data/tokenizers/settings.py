"""What a tokenizer's folder says beside its vocabulary.

Read as `transformers` reads them: tokenizer_config.json; without an
`added_tokens_decoder` in it, special_tokens_map.json over it, then
added_tokens.json; and config.json for the class, where the first names none.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import tokenizers as hf

from glue_jax.data.readers import json_text
from glue_jax.data.tokenizer_files import ADDED, ROLES_MAP, SETTINGS

# In this order the library gives ids to those that the vocabulary lacks.
ROLES = ('bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask')
# Tokenizer classes of models whose folders needn't name one.
BY_MODEL = {
  'albert': 'AlbertTokenizer',
  'bart': 'RobertaTokenizer',
  'bert': 'BertTokenizer',
  'camembert': 'CamembertTokenizer',
  'deberta-v2': 'DebertaV2Tokenizer',
  'distilbert': 'DistilBertTokenizer',
  'electra': 'BertTokenizer',
  'gpt2': 'GPT2Tokenizer',
  'gpt_neox': 'GPTNeoXTokenizer',
  'llama': 'LlamaTokenizer',
  'mobilebert': 'BertTokenizer',
  'opt': 'GPT2Tokenizer',
  'qwen2': 'Qwen2Tokenizer',
  'roberta': 'RobertaTokenizer',
  't5': 'T5Tokenizer',
  'xlm-roberta': 'XLMRobertaTokenizer',
}


@dataclasses.dataclass(frozen=True)
class Settings:
  """What the files say.

  Attributes:
    name: tokenizer class, without its ending `Fast`; '' where none is named.
    options: the settings, tokens of roles among them (`pad_token`).
    added: {id: token} beside the vocabulary, with how each is matched.
    extra: special tokens, of roles and others, which may have no id yet.
  """

  name: str = ''
  options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  added: Mapping[int, hf.AddedToken] = dataclasses.field(default_factory=dict)
  extra: tuple[hf.AddedToken, ...] = ()

  @property
  def decoder(self) -> bool:
    """Whether `added` is the config's own list, flags and all."""
    return 'added_tokens_decoder' in self.options

  def token(self, role: str) -> str | None:
    """The text of a role's token, None where the folder names none."""
    value = self.options.get(f'{role}_token')
    return None if value is None else _added(value).content

  @property
  def tokens(self) -> dict[str, str]:
    """{'pad_token': text} of the roles whose tokens the folder names."""
    named = {f'{role}_token': self.token(role) for role in ROLES}
    return {key: text for key, text in named.items() if text is not None}

  def exact(self, role: str) -> hf.AddedToken | None:
    """A role's token where the folder says how it is matched."""
    value = self.options.get(f'{role}_token')
    return _added(value) if isinstance(value, dict) else None


def read(folder: pathlib.Path) -> Settings:
  """Reads the settings of a folder; those of an empty one are empty.

  Raises:
    ValueError: a file isn't JSON, or holds what can't be a setting.
  """
  options = load(folder / SETTINGS)
  further = options.pop('additional_special_tokens', None)
  options['extra_special_tokens'] = (
    options.get('extra_special_tokens') or further or ()
  )
  for name, wanted in (
    ('split_special_tokens', False),
    ('truncation_side', 'right'),
  ):
    if options.get(name, wanted) != wanted:
      raise ValueError(
        f'{folder / SETTINGS}: {name}={options[name]!r} is not done here; set '
        f'it to {json.dumps(wanted)}'
      )
  model = load(folder / 'config.json')
  name = options.get('tokenizer_class') or model.get('tokenizer_class')
  name = name or BY_MODEL.get(model.get('model_type'), '')
  try:
    if 'added_tokens_decoder' in options:
      decoder = options['added_tokens_decoder']
      added = {int(i): _added(token) for i, token in decoder.items()}
    else:
      options |= load(folder / ROLES_MAP)
      special = {_added(t).content for t in _special(options)}
      further = options.pop('additional_special_tokens', ())
      options['extra_special_tokens'] = (
        options['extra_special_tokens'] or further
      )
      added = {
        i: hf.AddedToken(t, normalized=t not in special, special=t in special)
        for t, i in load(folder / ADDED).items()
      }
    extra = tuple(_added(token) for token in _special(options))
  except (AttributeError, TypeError, ValueError) as error:
    raise ValueError(
      f'{folder}: the tokens in {SETTINGS}, {ROLES_MAP} or {ADDED} are not as '
      f'the library writes them ({error})'
    ) from None
  return Settings(name.removesuffix('Fast'), options, added, extra)


def load(path: pathlib.Path) -> dict[str, Any]:
  """Returns a JSON file's object, {} where there is no such file.

  Raises:
    ValueError: it holds no JSON object.
  """
  if not path.is_file():
    return {}
  try:
    content = json_text.loads(path.read_text(encoding='utf-8'))
  except json_text.Twice as error:
    raise ValueError(f'{path}:{error.lineno}: {error.msg}') from None
  except ValueError as error:
    raise ValueError(f'{path}: not JSON ({error})') from None
  if not isinstance(content, dict):
    raise ValueError(
      f'{path}: found a {type(content).__name__}, expected a JSON object'
    )
  return content


def _special(options: Mapping[str, Any]) -> list:
  """Tokens of roles, then of other names, then those without a name."""
  usual = [f'{role}_token' for role in ROLES]
  named = [
    key
    for key, value in options.items()
    if key.endswith('_token') and isinstance(value, str | dict)
  ]
  tokens = [options[key] for key in usual if options.get(key)]
  tokens += [options[key] for key in named if key not in usual]
  further = options['extra_special_tokens']
  return tokens + list(
    further.values() if isinstance(further, dict) else further
  )


def _added(token: str | Mapping[str, Any]) -> hf.AddedToken:
  if isinstance(token, str):
    return hf.AddedToken(token, special=True)
  known = ('single_word', 'lstrip', 'rstrip', 'normalized')
  fields = {key: token[key] for key in known if key in token}
  return hf.AddedToken(
    token['content'], special=token.get('special', True), **fields
  )
