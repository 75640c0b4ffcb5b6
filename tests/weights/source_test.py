"""What a run's methods read of others: a finished run predicts without it."""

import contextlib
import json

import numpy as np
import pytest
import safetensors.numpy

from glue_jax.export import bundle, huggingface
from glue_jax.inference import open_run, predict, score
from glue_jax.training import begin, schema
from glue_jax.training.train import train
from glue_jax.weights import saved_model, source
from tests import adapters
from tests.conftest import tiny_config


@contextlib.contextmanager
def away(folder):
  """While it is at another place."""
  place = folder.rename(folder.with_name(f'{folder.name}_away'))
  yield
  place.rename(folder)


@pytest.fixture(scope='module')
def home(tmp_path_factory):
  """A folder with a backbone, which is a teacher too, and two adapters."""
  top = tmp_path_factory.mktemp('others')
  backbone = top / 'backbone'
  train(tiny_config(train=dict(epochs=None, steps=1)), backbone, 0)
  folder = str(backbone / 'model')
  base = config(folder)
  (top / 'sources').mkdir()
  for seed, name in enumerate(('one', 'two')):
    place = top / 'sources' / name
    (place / 'model').mkdir(parents=True)
    adapters.save(place, base, seed)
    # The adapters belong to the backbone that the runs start from.
    leaves = safetensors.numpy.load_file(f'{folder}/params.safetensors')
    safetensors.numpy.save_file(leaves, place / 'model/params.safetensors')
  return top


def config(backbone, **changes):
  return tiny_config(
    data=dict(tokenizer=backbone),
    model=dict(
      name=None,
      preset=None,
      num_layers=None,
      hidden_size=None,
      intermediate_size=None,
      max_positions=None,
      weights=backbone,
    ),
    train=dict(epochs=None, steps=2),
    **changes,
  )


@pytest.mark.parametrize('name', ['distillation', 'adapter_fusion', 'scalearn'])
def test_a_finished_run_needs_no_others(home, name, tmp_path):
  names = [str(home / 'sources' / n) for n in ('one', 'two')]
  given = dict(sources=names)
  if name == 'distillation':
    given = dict(teacher=str(home / 'backbone'))
  made = config(str(home / 'backbone/model'), methods=((name, given),))
  if name == 'distillation':  # a student of its own
    made = tiny_config(
      data=dict(tokenizer=str(home / 'backbone/model')),
      train=dict(epochs=None, steps=2),
      methods=((name, given),),
    )
  result = train(made, tmp_path / 'run', 0)
  with away(home / 'sources'), away(home / 'backbone'):
    run = open_run.load_run(tmp_path / 'run', eval_splits=('validation',))
    again = score.score(run, None, tmp_path / 'scores')
    if name == 'distillation':
      folder = tmp_path / 'hf'
      folder.mkdir()
      huggingface.save_hf(run, folder, '')
      assert (folder / 'model.safetensors').is_file()
    # Training, which reads their values, says what is missing.
    with pytest.raises((ValueError, FileNotFoundError), match='others'):
      begin.build(schema.bind(made, 4), 0)
  assert again == result['metrics']
  if name == 'scalearn':
    with away(home / 'sources'):
      bundle.write(run, tmp_path / 'bundle')
      loaded = bundle.load(tmp_path / 'bundle', str(home / 'backbone/model'))
    ours, theirs = (
      predict.predict_rows(r, [{'sentence': 'the cat'}]).outputs['logits']
      for r in (run, loaded)
    )
    np.testing.assert_array_equal(ours, theirs)


def test_a_teacher_taken_by_position_is_noted_in_the_result(home, tmp_path):
  folder = home / 'backbone' / 'model' / saved_model.MODEL
  record = json.loads(folder.read_text())
  folder.write_text(json.dumps(record | {'labels': None}))
  try:
    made = tiny_config(
      data=dict(tokenizer=str(home / 'backbone/model')),
      train=dict(epochs=None, steps=1),
      methods=(('distillation', dict(teacher=str(home / 'backbone'))),),
    )
    result = train(made, tmp_path, 0)
  finally:
    folder.write_text(json.dumps(record))
  (note,) = (n for n in result['notes'] if 'by position' in n)
  assert 'backbone' in note
  written = json.loads((tmp_path / 'run.json').read_text())
  assert note in written['result']['notes']


def test_of_arrays_sizes_are_kept(tmp_path):
  path = str(tmp_path / 'a.npz')
  np.savez(path, scores=np.ones((2, 3), np.float32), one=np.float64(2))
  read = source.Others(None, {})
  assert read.arrays(path)['scores'].sum() == 6
  kept = source.Others(None, json.loads(json.dumps(read.records)))
  (tmp_path / 'a.npz').unlink()
  found = kept.arrays(path)
  assert found['scores'].shape == (2, 3) and not found['scores'].any()
  assert found['one'].shape == () and found['one'].dtype == np.float64
  assert kept.records == read.records
  with pytest.raises(ValueError, match='cannot be read'):
    read.arrays(path)
