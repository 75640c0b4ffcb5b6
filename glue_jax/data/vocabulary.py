"""Which token each id stands for: two models that share ids must agree on it.

Read as a run would read it; of a tokenizer that isn't done here, from its files
as they stand.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping

from glue_jax.data import tokenizing
from glue_jax.data.readers import json_text


def read(folder: str | os.PathLike) -> dict[str, int] | None:
  """Returns {token: id} of a model folder; None if it has no such file.

  Args:
    folder: with the files of a tokenizer.
  """
  folder = pathlib.Path(folder)
  try:
    return tokenizing.read(folder).vocab
  except ValueError:
    return _as_they_stand(folder)


def _as_they_stand(folder: pathlib.Path) -> dict[str, int] | None:
  path = folder / 'tokenizer.json'
  if path.is_file():
    content = json_text.loads(path.read_text(encoding='utf-8'))
    ids = content['model']['vocab']
    if isinstance(ids, list):  # unigram: [token, score]
      ids = {token: i for i, (token, _) in enumerate(ids)}
    added = {t['content']: t['id'] for t in content.get('added_tokens') or ()}
    return {**ids, **added}
  if (folder / 'vocab.txt').is_file():
    lines = (folder / 'vocab.txt').read_text(encoding='utf-8').split('\n')
    ids = {line.rstrip('\r'): i for i, line in enumerate(lines) if line}
  elif (folder / 'vocab.json').is_file():
    ids = json_text.loads((folder / 'vocab.json').read_text(encoding='utf-8'))
  else:
    return None
  added_file = folder / 'added_tokens.json'
  if added_file.is_file():
    ids = {**ids, **json_text.loads(added_file.read_text(encoding='utf-8'))}
  return ids


def digest(vocabulary: Mapping[str, int]) -> str:
  """Returns a hash of {token: id}: equal ones have the same tokens."""
  pairs = sorted((i, token) for token, i in vocabulary.items())
  return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()


def difference(ours: Mapping[str, int], theirs: Mapping[str, int]) -> str:
  """Says which token has another id there; '' = none has."""
  every = ours.keys() | theirs.keys()
  differ = [t for t in every if ours.get(t) != theirs.get(t)]
  if not differ:
    return ''
  token = min(differ, key=lambda t: (ours.get(t, theirs.get(t)), t))
  return (
    f'token {token!r} has id {theirs.get(token)} there and {ours.get(token)} '
    'here'
  )
