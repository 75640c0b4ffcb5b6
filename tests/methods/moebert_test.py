"""The method `moebert`: from a dense run to distilled experts, and errors."""

import numpy as np
import pytest

from glue_jax import tree
from glue_jax.inference import open_run, score
from glue_jax.training import begin, schema, train
from glue_jax.weights import saved_model, source
from tests.commands import run_command
from tests.conftest import tiny_config
from tests.weights.source_test import away


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
  """A finished dense run with the importance of its neurons."""
  folder = tmp_path_factory.mktemp('runs') / 'teacher'
  train.train(tiny_config(model=dict(num_layers=1)), folder, 0)
  where = f'--workdir={folder}', f'--output={folder}/importance.npz'
  done = run_command('probe', 'importance', '--limit=20', *where)
  assert done.returncode == 0, done.stderr[-2000:]
  assert done.stdout.startswith('20 examples of train')
  return folder


def student(teacher, size=12, **kwargs):
  arguments = dict(
    teacher=str(teacher), importance=f'{teacher}/importance.npz', shared=8
  )
  experts = dict(size=size, gate='hash')
  return tiny_config(
    data=dict(tokenizer=str(teacher / 'model')),
    model=dict(
      name='comet',
      preset=None,
      num_layers=None,
      hidden_size=None,
      intermediate_size=None,
      max_positions=None,
      weights=str(teacher),
      fresh=(r'encoder/layer_\d+/ffn/.*',),
      ffn='experts',
      options=dict(experts=experts),
    ),
    methods=(('moebert', arguments | kwargs),),
  )


def test_experts_start_as_pruned_dense_layers_and_train(teacher, tmp_path):
  parts = begin.build(schema.bind(student(teacher), 4), 0)
  ours = tree.flatten(parts.params)
  dense = tree.flatten(saved_model.load(teacher)[1])
  scores = source.read_arrays(f'{teacher}/importance.npz')['layer_0']
  assert (scores >= 0).all() and scores.max() > 0
  best = np.argsort(-scores, kind='stable')[:8]
  start = 'encoder/layer_0'
  kernel = ours[f'{start}/ffn/experts_in/kernel']
  assert kernel.shape == (4, 16, 12)
  for expert in np.asarray(kernel):
    np.testing.assert_array_equal(
      expert[:, :8], dense[f'{start}/ffn/ffn_in/kernel'][:, best]
    )
  np.testing.assert_array_equal(
    ours[f'{start}/ffn/ln_experts/scale'][1], dense[f'{start}/ln_ffn/scale']
  )
  same = f'{start}/mixer/query/kernel'
  np.testing.assert_array_equal(ours[same], dense[same])
  result = train.train(student(teacher), tmp_path, 0)
  assert 0 <= result['primary']['value'] <= 1
  with away(teacher):
    run = open_run.load_run(tmp_path, eval_splits=('validation',))
    again = score.score(run, None, tmp_path / 'again')
  assert again == result['metrics']


@pytest.mark.parametrize(
  'change, message',
  [
    (dict(importance='nowhere.npz'), 'write it with python -m launch.probe'),
    (dict(shared=7), '32 neurons, 7 of them shared, do not divide among 4'),
    (dict(size=20), 'at most 14 of the 32 neurons'),
  ],
)
def test_mistakes(teacher, change, message):
  with pytest.raises(ValueError, match=message):
    begin.build(schema.bind(student(teacher, **change), 4), 0)
