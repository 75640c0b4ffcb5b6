"""Config files by path or by name: `quickstart`, `finetune/lora`.

A path that exists is taken as it is. Any other text is the name of a file of
the package `configs`, with or without 'configs/' and '.py', so that commands
work in any folder.
"""

import difflib
import importlib.util
import inspect
import pathlib
import sys
import traceback
from typing import Any

FOLDER = pathlib.Path(__file__).resolve().parents[2] / 'configs'

# Where a file that was typed once is now; for one version.
MOVED = {
  'bert_base_glue': 'finetune/bert_base.py',
  'bitfit_glue': 'finetune/bitfit.py',
  'comet_glue': 'finetune/comet.py',
  'comet_minilm_glue': 'finetune/comet.py:TASK,small',
  'deft_glue': 'finetune/deft.py',
  'deft_minilm_glue': 'finetune/deft.py:TASK,small',
  'deft_wanda_glue': 'finetune/deft_wanda.py',
  'distillation_glue': 'distill/distillation.py',
  'dsir_mlm': 'pretrain/dsir.py',
  'dylora_glue': 'finetune/dylora.py',
  'dylora_minilm_glue': 'finetune/dylora.py:TASK,small',
  'fnet_glue': 'finetune/fnet.py',
  'galore_glue': 'finetune/galore.py',
  'galore_minilm_glue': 'finetune/galore.py:TASK,small',
  'gradual_unfreezing_glue': 'finetune/gradual_unfreezing.py',
  'houlsby_glue': 'finetune/houlsby.py',
  'hydra_glue': 'finetune/hydra.py',
  'hydra_mlm': 'pretrain/hydra.py',
  'ia3_glue': 'finetune/ia3.py',
  'lamda_glue': 'finetune/lamda.py',
  'lamda_plus_glue': 'finetune/lamda_plus.py',
  'lepiszcze': 'suites/lepiszcze.py',
  'lepiszcze_small': 'suites/lepiszcze.py:TASK,small',
  'lora_glue': 'finetune/lora.py',
  'matrix': 'suites/matrix.py',
  'meft_glue': 'finetune/meft.py',
  'meft_minilm_glue': 'finetune/meft.py:TASK,small',
  'mixers_small': 'pretrain/mixers_small.py',
  'mlm': 'pretrain/mlm.py',
  'moebert_glue': 'distill/moebert.py',
  'parallel_adapter_glue': 'finetune/parallel_adapter.py',
  'pfeiffer_glue': 'finetune/pfeiffer.py',
  'polish_mlm': 'pretrain/polish.py',
  'ponet_imdb': 'finetune/ponet.py:imdb',
  'ponet_imdb_small': 'finetune/ponet.py:imdb,small',
  'ponet_pretrain': 'pretrain/ponet.py',
  'prefix_glue': 'finetune/prefix.py',
  'prompt_glue': 'finetune/prompt.py',
  'qlora_glue': 'finetune/qlora.py',
  'scalearn_glue': 'finetune/scalearn.py',
  'scalearn_minilm': 'finetune/scalearn.py:small',
  'slimfit_glue': 'finetune/slimfit.py',
  'slimfit_minilm_glue': 'finetune/slimfit.py:TASK,small',
}


def find(path: str) -> pathlib.Path:
  """The file that a path or a name means.

  Args:
    path: file, or name of one of the package `configs`.

  Raises:
    ValueError: there is none; says where it moved to, or what is like it.
  """
  if pathlib.Path(path).is_file():
    return pathlib.Path(path)
  name = pathlib.PurePath(path).as_posix().removeprefix('configs/')
  name = name.removesuffix('.py')
  if name in MOVED:
    raise ValueError(f'{path} is now configs/{MOVED[name]}')
  if name in names():
    return FOLDER / f'{name}.py'
  last = name.rpartition('/')[2]
  near = [n for n in names() if n.rpartition('/')[2] == last]
  near = near or difflib.get_close_matches(name, names())
  hint = f'; did you mean {" or ".join(near)}?' if near else ''
  raise ValueError(f'no config file {path}{hint}')


def names() -> list[str]:
  """Names of the package's configs, 'finetune/lora'."""
  return [
    path.relative_to(FOLDER).with_suffix('').as_posix()
    for path in sorted(FOLDER.rglob('*.py'))
    if 'def get_config(' in path.read_text()
  ]


def read(path: str) -> dict[str, Any]:
  """What a config file defines.

  Args:
    path: file or name, see `find`.

  Returns:
    {name: value} of its module.

  Raises:
    ValueError: there is no such file, or it can't be run: says which line.
  """
  file = find(path)
  name = f'config_{abs(hash(str(file.resolve())))}'
  spec = importlib.util.spec_from_file_location(name, file.resolve())
  module = importlib.util.module_from_spec(spec)
  sys.modules[name] = module  # dataclasses look for their module
  try:
    spec.loader.exec_module(module)
  except Exception as error:
    raise _failed(file, error) from error
  return vars(module)


def _failed(file: pathlib.Path, error: Exception) -> ValueError:
  """A mistake in a config file, with its line."""
  frames = traceback.extract_tb(error.__traceback__)
  lines = [f.lineno for f in frames if f.filename == str(file.resolve())]
  number = lines[-1] if lines else getattr(error, 'lineno', None)
  where = f'{file}:{number}' if number else str(file)
  said = (str(error).splitlines() or [''])[0]
  return ValueError(f'{where}: {type(error).__name__}: {said}')


def load(text: str) -> Any:
  """The config of 'FILE[:ARGUMENT]'.

  Raises:
    ValueError: there is no such file, or it refuses the argument.
  """
  path, colon, argument = text.partition(':')
  get_config = read(path).get('get_config')
  if get_config is None:
    raise ValueError(f'{path} defines no get_config')
  arguments = [argument] if colon else []
  try:
    inspect.signature(get_config).bind(*arguments)
  except TypeError:
    wants = 'no argument' if colon else f'an argument, as in {path}:rte'
    raise ValueError(f'{path} takes {wants}') from None
  try:
    return get_config(*arguments)
  except (ValueError, OSError):  # its own words for the argument
    raise
  except Exception as error:  # a mistake in the file, not in the command
    raise _failed(find(path), error) from error
