"""Names of the Hugging Face Hub, where a folder is expected.

  google-bert/bert-base-uncased            its branch `main`
  google-bert/bert-base-uncased@86b5e093   a branch, tag or commit (`NAME@...`)

A folder that is there always wins. What looks like a path never asks the
network: a text that starts with `.`, `/` or `~`, or has more than one slash. Of
a repository only the files in its top folder are fetched that are read here:
JSON, tokenizers and safetensors, never pickles; `huggingface_hub` does it, in
the cache and by the variables of all its users (HF_HOME, HF_TOKEN, HF_ENDPOINT,
HF_HUB_OFFLINE; see its documentation). What is in the cache of the commit that
is asked for is not fetched again.
"""

import dataclasses
import os
import pathlib
import re
import sys

import numpy as np
from absl import logging

from glue_jax.data import tokenizer_files
from glue_jax.data.readers import gguf

_NAME = re.compile(r'\w[\w.-]*(/\w[\w.-]*)?(@[^@\s]+)?', re.ASCII)
_TOKENIZERS = ('*.json', *tokenizer_files.FILES)
_MODELS = (*_TOKENIZERS, '*.safetensors')
# The patterns' star also matches a slash; of folders inside, only the numbered
# ones of sentence-transformers (1_Pooling) are wanted.
_NESTED = ('[!0-9]*/*',)


def is_name(source: str | os.PathLike) -> bool:
  """Whether a source is asked of the hub: no path, and no folder here."""
  text = os.fspath(source)
  there = bool(text) and pathlib.Path(text).exists()
  file = text.endswith(gguf.SUFFIX)
  return not (there or file) and bool(_NAME.fullmatch(text))


def split(name: str) -> tuple[str, str | None]:
  """Returns (repository, revision) of 'NAME' or 'NAME@REVISION'."""
  repository, _, revision = name.partition('@')
  return repository, revision or None


def at(name: str, commit: str) -> str:
  """Returns 'NAME@COMMIT' of a name with another revision, or without."""
  return f'{split(name)[0]}@{commit}'


def folder(source: str | os.PathLike, weights: bool = True) -> str:
  """Returns the folder of a source, fetched from the hub if it is a name.

  Args:
    source: a folder, which needn't be there, or a name of the hub.
    weights: also fetch weights, and refuse a repository without them; else the
      tokenizer and the configs alone.

  Raises:
    FileNotFoundError: the hub has no such repository or revision, doesn't give
      it, can't be reached, or has no safetensors of it.
  """
  text = os.fspath(source)
  if not is_name(text):
    return os.path.expanduser(text)
  found = _fetch(text, _MODELS if weights else _TOKENIZERS)
  if weights and not any(found.glob('*.safetensors')):
    raise FileNotFoundError(_unconverted(text))
  return str(found)


def pinned(source: str | os.PathLike) -> str:
  """Returns 'NAME@COMMIT' of a name of the hub; a folder as it is.

  Raises:
    FileNotFoundError: see `folder`.
  """
  text = os.fspath(source)
  if not is_name(text):
    return text
  return at(text, _fetch(text, ('config.json',)).name)


@dataclasses.dataclass
class Commits:
  """The commits that a run's names of the hub stand for, once and for all.

  Attributes:
    known: {name as the config has it: commit}; shared by the runs of a workdir,
      so that its seeds and stages, and whoever goes on with it, read the same.
    used: those that this run has asked for.
  """

  known: dict[str, str] = dataclasses.field(default_factory=dict)
  used: dict[str, str] = dataclasses.field(default_factory=dict)

  def folder(self, source: str | os.PathLike, weights: bool = True) -> str:
    """Returns the folder of a source, as `hub.folder` does.

    A name that is not known yet is looked up by process 0; all fetch that
    commit, each for itself. In a cache that they share, the first does.

    Raises:
      FileNotFoundError: see `hub.folder`.
    """
    text = os.fspath(source)
    if text not in self.known and not is_name(text):
      return folder(text, weights)
    if text not in self.known:
      self.known[text] = _agreed(text)
    commit = self.known[text]
    if text not in self.used:
      logging.info('%s: commit %s of the hub', text, commit)
      self.used[text] = commit
    return folder(at(text, commit), weights)


def _agreed(name: str) -> str:
  """The commit of a name; several processes take that of process 0."""
  import jax

  if jax.process_count() == 1:
    return split(pinned(name))[1] or ''
  from jax.experimental import multihost_utils

  commit, error = '', None
  if jax.process_index() == 0:
    try:
      commit = split(pinned(name))[1] or ''
    except Exception as caught:  # the others must hear of it
      error = caught
  letters = np.frombuffer(commit.ljust(64).encode(), np.uint8)
  told = np.asarray(multihost_utils.broadcast_one_to_all(letters), np.uint8)
  if error:
    raise error
  commit = told.tobytes().decode().strip()
  if not commit:
    raise FileNotFoundError(f'process 0 could not look up {name} on the hub')
  return commit


def _fetch(name: str, patterns: tuple[str, ...]) -> pathlib.Path:
  """Fetches files of a repository; its folder is named by the commit."""
  import huggingface_hub

  quiet()
  repository, revision = split(name)
  try:
    return pathlib.Path(
      huggingface_hub.snapshot_download(
        repository,
        revision=revision,
        allow_patterns=list(patterns),
        ignore_patterns=list(_NESTED),
      )
    )
  except Exception as error:  # of several libraries, compiled ones too
    if isinstance(error, OSError) and error.errno is not None:
      raise  # of the disk
    raise FileNotFoundError(refusal(error, name)) from error


def quiet() -> None:
  """Draws no progress bars where nobody looks at a terminal."""
  from huggingface_hub import constants, utils

  if constants.HF_HUB_DISABLE_PROGRESS_BARS is None and not sys.stderr.isatty():
    utils.disable_progress_bars()


def refusal(error: Exception, name: str, kind: str = 'model') -> str:
  """Returns why the hub gave nothing, and what to do, as one line.

  Args:
    error: of `huggingface_hub`.
    name: what was asked for.
    kind: 'model' or 'dataset'.
  """
  from huggingface_hub import constants, errors

  repository, revision = split(name)
  hub, cache = constants.ENDPOINT, constants.HF_HUB_CACHE
  here = 'no such folder here, and ' if kind == 'model' else ''
  login = 'set HF_TOKEN to a token that may read it'
  status = getattr(getattr(error, 'response', None), 'status_code', None)
  if isinstance(error, errors.GatedRepoError):
    page = f'{hub}/{"datasets/" if kind == "dataset" else ""}{repository}'
    return (
      f'{name}: its owners give it only to whom they let in (status {status}); '
      f'ask at {page}, then {login}'
    )
  if isinstance(error, errors.RepositoryNotFoundError):
    return (
      f'{name}: {here}{hub} has no such {kind}, or hides it; mend the name, '
      f'or {login}'
    )
  if isinstance(error, errors.RevisionNotFoundError):
    return f'{repository} has no branch, tag or commit {revision!r} at {hub}'
  if isinstance(error, errors.RemoteEntryNotFoundError):
    path = str(error.response.url).rpartition('/')[2]
    return f'{repository} lists the file {path} at {hub}, which it has not'
  if isinstance(error, errors.HFValidationError):
    return f'{name}: {here}no name of the hub either; expected OWNER/NAME'
  if isinstance(error, errors.LocalEntryNotFoundError):
    whole = type(error) is errors.LocalEntryNotFoundError
    part = '' if whole else ' as a whole'
    if constants.is_offline_mode():
      return (
        f'{name}: {here}it is not{part} in {cache}, and HF_HUB_OFFLINE keeps '
        f'it from being fetched; unset that, or fetch it where there is a '
        f'network: hf download {repository}'
      )
    return (
      f'{name}: {here}it is not{part} in {cache}, and {hub} does not answer '
      f'({cause(error)}); see to the network or HF_ENDPOINT, or give a folder'
    )
  if status is not None:
    said = 'HF_TOKEN is not valid' if status == 401 else cause(error)
    return f'{name}: {hub} answers with status {status}: {said}'
  return (
    f'{name}: fetching it from {hub} broke off ({cause(error)}); start the '
    'same command again'
  )


def cause(error: BaseException) -> str:
  """Returns the first line of what an error of the client arose from."""
  while error.__cause__ is not None:
    error = error.__cause__
  lines = str(error).strip().splitlines()
  return lines[0] if lines else type(error).__name__


def _unconverted(name: str) -> str:
  """What to do about a repository without safetensors."""
  from huggingface_hub import HfApi

  repository, revision = split(name)
  try:
    names = HfApi().list_repo_files(repository, revision=revision)
  except Exception:  # offline: what is there is not known
    names = []
  others = [n for n in names if re.search(r'\.(bin|h5|msgpack)$', n)]
  there = f', but {", ".join(others[:4])}' if others else ''
  return (
    f'{name} has no *.safetensors{there}; pickles can run any code and are '
    'never opened here. Ask for a conversion at https://huggingface.co/spaces/'
    f'safetensors/convert and give {repository}@refs/pr/NUMBER, or convert it '
    'where PyTorch is: python -c "import transformers as t; '
    f"[c.from_pretrained('{repository}').save_pretrained('FOLDER') for c in "
    '(t.AutoModel, t.AutoTokenizer)]", and give FOLDER'
  )
