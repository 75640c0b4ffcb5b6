"""The golden runner: green on the project's own files, red on any damage."""

import re
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
import transformers

from tests.golden import __main__ as golden

SLUG = 'fnet-and-baselines'
ROW = re.compile(r'\S+/\S+ \S+ \S+ \S+ (ok|FAIL)')


@pytest.fixture
def folder(tmp_path):
  """A copy of two small files, to be damaged."""
  home = tmp_path / SLUG
  home.mkdir()
  for name in ('bert_odd.npz', 'fnet_odd.npz'):
    (home / name).write_bytes((golden.OWN / SLUG / name).read_bytes())
  return tmp_path


def run(folder, *arguments):
  return golden.main(['--dir', str(folder), *arguments])


def damage(folder, file, key, change):
  path = folder / SLUG / file
  with np.load(path) as npz:
    arrays = {name: npz[name] for name in npz.files}
  arrays[key] = change(arrays[key])
  np.savez(path, **arrays)


def test_own_files_are_green(capsys):
  assert run(golden.OWN, SLUG) == 0
  *rows, count = capsys.readouterr().out.splitlines()
  assert len(rows) == 4 and count == f'{SLUG}: compared 4 of 4 files'
  assert all(ROW.fullmatch(row) and row.endswith(' ok') for row in rows), rows


def test_the_command_needs_no_pytest_and_gives_the_exit_status(tmp_path):
  script = f"""
import importlib, pkgutil, sys
sys.modules['pytest'] = None
from tests import golden
for module in pkgutil.iter_modules(golden.__path__):
  importlib.import_module('tests.golden.' + module.name)
sys.exit(golden.__main__.main(['--dir', {str(tmp_path)!r}, {SLUG!r}]))
"""
  command = [sys.executable, '-c', script]
  done = subprocess.run(command, cwd=golden.TOP, capture_output=True, text=True)
  assert done.stdout == f'{SLUG}/*.npz - - - FAIL\n', done.stderr
  assert done.returncode == 1


def test_every_file_is_compared_or_named(tmp_path, capsys):
  home = tmp_path / 'ppo-nlu'
  home.mkdir()
  (tmp_path / 'no-module').mkdir()
  arrays = {'ref_logprobs': 0, 'loss': 0}
  np.savez(home / 'step_2.npz', **arrays)
  np.savez(tmp_path / 'no-module' / 'a.npz', **arrays)
  assert run(tmp_path, home.name) == 1  # nothing was compared
  assert capsys.readouterr().out == (
    f'{home.name}: compared 0 of 1 files; '
    'not built: 1 files: step_2.npz (reinforcement learning (PPO))\n'
  )
  np.savez(home / 'other.npz', x=0)
  assert run(tmp_path) == 1
  out = capsys.readouterr().out.splitlines()
  assert f'{home.name}/other.npz - - - FAIL' in out
  assert out[-1] == 'no-module: not built: 1 files: a.npz'


def test_errors_and_tolerance_are_of_one_array(tmp_path, capsys):
  rows = [('near', [1.0], [1.1], 1.0, 0.0), ('far', [2.0], [2.01], 1e-3, 0.0)]
  module = types.SimpleNamespace(compare=lambda arrays, folder: rows)
  np.savez(tmp_path / 'a.npz', x=0)
  assert not golden.check_file(module, 'slug', tmp_path / 'a.npz')
  out = capsys.readouterr().out
  assert out == 'slug/a.npz 0.01 0.00498 0.001+0*x FAIL\n'


@pytest.mark.parametrize(
  'file',
  [
    'comet/gate_e4_k1',
    'comet/moebert_importance_distill',
    'fnet-and-baselines/bert_odd',
    'hydra/layer_groups_bias',
    'ponet/layer_small',
  ],
)
def test_intermediate_values_may_be_absent(tmp_path, file):
  slug, _, name = file.partition('/')
  (tmp_path / slug).mkdir()
  with np.load(golden.OWN / f'{file}.npz') as npz:
    kept = {n: npz[n] for n in npz.files if not n.startswith('mid_')}
    assert len(kept) < len(npz.files)
  np.savez(tmp_path / slug / name, **kept)
  assert run(tmp_path, slug) == 0


def test_every_module_is_a_slug_with_own_files():
  assert SLUG in golden.slugs()
  for slug in golden.slugs():
    assert list((golden.OWN / slug).iterdir()), slug


@pytest.mark.parametrize('slug', sorted({*golden.slugs()} - {SLUG}))
def test_own_files_of_every_slug_are_green(slug):
  assert golden.check_slug(golden.OWN, slug)


@pytest.mark.parametrize(
  'file,key,change',
  [
    ('bert_odd.npz', 'out_mlm_loss', lambda x: x + 1e-2),
    ('bert_odd.npz', 'mid_attn_0', lambda x: x * 1.01),
    ('bert_odd.npz', 'mid_hidden_1', lambda x: x + 1e-3),
    ('fnet_odd.npz', 'out_pooled', lambda x: x * np.nan),
    ('fnet_odd.npz', 'out_last_hidden', lambda x: x[:, :-1]),
    ('fnet_odd.npz', 'grad_w_pooler.dense.weight', lambda x: x * 1.001),
    (
      'bert_odd.npz',
      'grad_w_bert.embeddings.word_embeddings.weight',
      lambda x: np.where(np.arange(len(x))[:, None] == 0, x + 0.1, x),
    ),
  ],
)
def test_a_changed_value_fails(folder, capsys, file, key, change):
  damage(folder, file, key, change)
  assert run(folder, SLUG) == 1
  *rows, _ = capsys.readouterr().out.splitlines()
  verdicts = {row.split('/')[1].split()[0]: row.split()[-1] for row in rows}
  assert len(rows) == 2
  assert verdicts.pop(file) == 'FAIL'
  assert set(verdicts.values()) == {'ok'}


def test_only_valid_positions_count(folder):
  ids = np.load(folder / SLUG / 'bert_odd.npz')['in_attention_mask']

  def spoil(x):
    return np.where((ids == 0)[..., None], 7.0, x)

  damage(folder, 'bert_odd.npz', 'out_last_hidden', spoil)
  assert run(folder, SLUG) == 0


def test_an_unknown_slug_fails(folder, capsys):
  assert run(folder, 'no-such-slug') == 1
  assert SLUG in capsys.readouterr().err


def test_a_slug_without_files_fails(tmp_path, capsys):
  assert run(tmp_path, SLUG) == 1
  assert capsys.readouterr().out.strip().endswith('FAIL')


def test_without_slugs_all_known_ones_are_needed(tmp_path, capsys):
  assert run(tmp_path) == 1
  rows = capsys.readouterr().out.splitlines()
  assert [row.split('/')[0] for row in rows] == golden.slugs()


@pytest.mark.parametrize('content', [b'', b'not a zip', b'PK\x03\x04'])
def test_an_unreadable_file_fails(folder, capsys, content):
  (folder / SLUG / 'bert_odd.npz').write_bytes(content)
  assert run(folder, SLUG) == 1
  out = capsys.readouterr().out.splitlines()
  assert out[0] == f'{SLUG}/bert_odd.npz - - - FAIL'
  assert out[1].endswith('ok')


def test_a_missing_array_fails(folder, capsys):
  path = folder / SLUG / 'bert_odd.npz'
  with np.load(path) as npz:
    arrays = {n: npz[n] for n in npz.files if n != 'out_mlm_logits'}
  np.savez(path, **arrays)
  assert run(folder, SLUG) == 1
  assert 'out_mlm_logits' in capsys.readouterr().err


def test_an_array_that_nothing_compares_fails(folder, capsys):
  path = folder / SLUG / 'fnet_odd.npz'
  with np.load(path) as npz:
    np.savez(path, out_new=np.zeros(3), **npz)
  assert run(folder, SLUG) == 1
  assert 'out_new' in capsys.readouterr().err


def test_bert_files_of_other_sizes(tmp_path):
  """A file as the README of the golden folder describes, made here."""
  torch.manual_seed(0)
  config = transformers.BertConfig(
    vocab_size=51, hidden_size=20, num_hidden_layers=3, num_attention_heads=5,
    intermediate_size=28, max_position_embeddings=13, type_vocab_size=3,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    attn_implementation='eager',
  )  # fmt: skip
  model = transformers.BertForMaskedLM(config)
  pooler = transformers.BertModel(config).pooler
  for parameter in [*model.parameters(), *pooler.parameters()]:
    parameter.data.add_(0.2 * torch.randn_like(parameter))
  ids = torch.randint(1, 51, (4, 11))
  mask = torch.ones_like(ids)
  for row, pads in enumerate((0, 3, 5, 10)):
    mask[row, 11 - pads :] = 0
  ids[mask == 0] = 0
  types = torch.randint(0, 3, (4, 11))
  labels = torch.where(torch.rand(4, 11) < 0.4, ids, -100)
  labels[mask == 0] = -100
  model, pooler = model.double().eval(), pooler.double()
  out = model(
    ids, mask, types, labels=labels,
    output_attentions=True, output_hidden_states=True,
  )  # fmt: skip
  out.loss.backward()
  arrays = {
    'in_input_ids': ids, 'in_token_type_ids': types,
    'in_attention_mask': mask, 'in_mlm_labels': labels,
    'out_last_hidden': out.hidden_states[-1], 'out_mlm_logits': out.logits,
    'out_mlm_loss': out.loss, 'out_pooled': pooler(out.hidden_states[-1]),
  }  # fmt: skip
  arrays |= {f'mid_hidden_{i}': x for i, x in enumerate(out.hidden_states)}
  arrays |= {f'mid_attn_{i}': x for i, x in enumerate(out.attentions)}
  for name, parameter in model.named_parameters():
    arrays['w_' + name] = parameter
    arrays['grad_w_' + name] = parameter.grad
  for name, parameter in pooler.named_parameters():
    arrays['w_bert.pooler.' + name] = parameter
  arrays = {k: v.detach().numpy() for k, v in arrays.items()}
  for key, value in arrays.items():
    kind = np.float32 if value.dtype == np.float64 else np.int32
    arrays[key] = value.astype(kind)
  (tmp_path / SLUG).mkdir()
  np.savez(tmp_path / SLUG / 'made_here.npz', **arrays)
  assert run(tmp_path, SLUG) == 0


def test_shared_files_are_green(shared):
  assert run(shared / 'golden', SLUG) == 0
