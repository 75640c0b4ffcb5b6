"""An exported folder as a repository of the Hugging Face Hub.

What is sent is what the export wrote and nothing else, in one commit: a reader
never sees half of a model. HF_TOKEN, HF_ENDPOINT and the other variables of
`huggingface_hub` count. How names are read: data/hub.py.
"""

import pathlib
import re
from collections.abc import Sequence

from glue_jax.data import hub

_NAME = re.compile(r'\w[\w.-]*/\w[\w.-]*', re.ASCII)


def check(name: str) -> None:
  """Refuses what can't be pushed, before there is anything to push.

  Args:
    name: 'OWNER/NAME'.

  Raises:
    ValueError: it is no such name, there is no token, or the hub is switched
      off.
  """
  import huggingface_hub
  from huggingface_hub import constants

  if not _NAME.fullmatch(name):
    raise ValueError(f'{name!r} is no repository; expected OWNER/NAME')
  if constants.is_offline_mode():
    raise ValueError(
      f'{name} cannot be pushed: HF_HUB_OFFLINE is set; unset it'
    )
  if not huggingface_hub.get_token():
    raise ValueError(
      f'{name} cannot be pushed without a token that may write there; set '
      'HF_TOKEN, or log in by: hf auth login'
    )


def push(
  folder: pathlib.Path, files: Sequence[str], name: str, public: bool = False
) -> str:
  """Sends files of a folder to a repository, which is made if needed.

  Files of the repository that have other names stay.

  Args:
    folder: where the files lie.
    files: their paths in it, and in the repository.
    name: 'OWNER/NAME'.
    public: of a new repository: whether others see it. One that is there stays
      as it is.

  Returns:
    The address of the commit.

  Raises:
    ValueError: the hub refuses it, or can't be reached.
  """
  import huggingface_hub

  hub.quiet()
  api = huggingface_hub.HfApi()
  added = [
    huggingface_hub.CommitOperationAdd(path, folder / path) for path in files
  ]
  try:
    api.create_repo(name, private=not public, exist_ok=True)
    made = api.create_commit(name, added, commit_message='Upload of glue_jax')
  except Exception as error:  # of several libraries, compiled ones too
    raise ValueError(_refusal(error, name, folder)) from error
  return str(made.commit_url)


def _refusal(error: Exception, name: str, folder: pathlib.Path) -> str:
  """Why nothing was pushed, and what to do."""
  from huggingface_hub import constants

  status = getattr(getattr(error, 'response', None), 'status_code', None)
  owner, what = name.split('/')[0], f'{name} was not pushed'
  if status == 401:
    return f'{what}: {constants.ENDPOINT} takes the token for no valid one'
  if status in (403, 404):
    return (
      f'{what}: the token may not write to {owner} at {constants.ENDPOINT} '
      f'({hub.cause(error)}); take one that may, or another owner'
    )
  return (
    f'{what}: {hub.cause(error)}; the export itself is whole in {folder}, '
    'start the same command again'
  )
