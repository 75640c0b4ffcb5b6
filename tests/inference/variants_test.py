"""A finished run in other shapes than it was trained in, without training."""

import json

import numpy as np
import pytest

from glue_jax import tree
from glue_jax.export import write
from glue_jax.inference import open_run, score
from glue_jax.plugs import Apply
from glue_jax.training import train
from launch import evaluate
from launch import export as export_command
from tests import small_users
from tests.commands import status
from tests.conftest import tiny_config


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """Two blocks, of which the first epoch trains one."""
  folder = tmp_path_factory.mktemp('run')
  with small_users.named():
    train.train(tiny_config(methods=[['shallow', {}]]), folder, 0)
    yield folder


@pytest.fixture(scope='module')
def run(workdir):
  return open_run.open_run(workdir, splits=None)


def test_it_predicts_as_the_part_of_the_model_does(run):
  batch = next(iter(run.bundle.evals['validation']))
  small = run.at(depth=1)
  logits = small.predict_fn(batch)['logits']
  assert small.model.config.num_layers == 1
  assert not any('layer_1' in name for name in tree.flatten(small.params))
  plain = Apply(small.model)(small.params, batch)['logits']
  np.testing.assert_allclose(logits, plain, atol=1e-6)
  whole = np.asarray(run.predict_fn(batch)['logits'])
  assert abs(whole - logits).max() > 1e-4
  same = run.at(depth=2).predict_fn(batch)['logits']
  np.testing.assert_array_equal(same, whole)


def test_the_commands_name_it(workdir, tmp_path, capsys):
  flags = (f'--workdir={workdir}', f'--output={tmp_path}/scores')
  variants = ('--variant=depth=1', '--variant=depth=2')
  assert status(evaluate, *flags, *variants) is None
  text = capsys.readouterr().out
  for depth in (1, 2):
    assert f'validation, depth {depth} ' in text
    file = tmp_path / f'scores/depth_{depth}/metrics.json'
    assert json.loads(file.read_text())['variant'] == {'depth': depth}
  flags = (f'--workdir={workdir}', f'--output={tmp_path}/hf')
  assert status(export_command, *flags, variants[0]) is None
  sizes = json.loads((tmp_path / 'hf/config.json').read_text())
  assert sizes['num_hidden_layers'] == 1
  card = (tmp_path / 'hf/README.md').read_text()
  assert 'the part of the trained model with depth 1' in card


def test_a_program_of_it(run, tmp_path):
  write.write(run.at(depth=1), tmp_path / 'one', 'stablehlo', batch=1, length=4)
  signature = json.loads((tmp_path / 'one/signature.json').read_text())
  assert signature['variant'] == {'depth': 1}


@pytest.mark.parametrize(
  'variant, message',
  [
    (dict(speedup=2), r"no variants by \['speedup'\]; it has .*\['depth'\]"),
    (dict(depth=3), 'depth=3: there are 2 blocks'),
    (dict(rank=1), 'shallow has no low-rank leaves'),
  ],
)
def test_what_there_is_not_is_refused(run, variant, message):
  with pytest.raises(ValueError, match=message):
    run.at(**variant)


def test_variants_of_the_command_line():
  given = score.parse_variant('depth=1,share=0.5,form=wide,whole=true')
  assert given == dict(depth=1, share=0.5, form='wide', whole=True)
  for text in ('', 'depth', 'depth=', '=1', 'depth=1,depth=2'):
    with pytest.raises(ValueError, match="expected 'name=value'"):
      score.parse_variant(text)
