"""Grown position tables: values, refusals, and a run from config to export."""

import functools
import gzip
import json

import numpy as np
import pytest
import safetensors.numpy

from configs.pretrain import ponet
from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.export import bundle, peft_folder
from glue_jax.inference import open_run
from glue_jax.layers.spec import EncoderConfig
from glue_jax.training import runs, schema
from glue_jax.weights import huggingface, positions, saved_model, source
from tests.conftest import tiny_config

TABLE = 'encoder/embeddings/position/embedding'
SHORT, LONG = 24, 56
SPLITS = {'train': 'train', 'validation': 'valid'}


def test_rows_are_repeated_and_those_of_no_position_stay():
  table = np.arange(14.0).reshape(7, 2)
  later = TABLE.replace('encoder', 'decoder')
  params = tree.unflatten({TABLE: table, later: table, 'encoder/a': table})
  for offset, expected in (
    (0, [0, 1, 2, 3, 4, 5, 6, 0, 1, 2]),
    (2, [0, 1, 2, 3, 4, 5, 6, 2, 3, 4, 5, 6]),
  ):
    config = EncoderConfig(max_positions=7, position_offset=offset)
    grown = positions.grown_config(config, 10)
    assert grown.max_positions == 10 + offset
    flat = tree.flatten(positions.grow(params, grown))
    for name in (TABLE, later):
      np.testing.assert_array_equal(flat[name], table[expected])
    np.testing.assert_array_equal(flat['encoder/a'], table)
  assert positions.grown_config(config, 5) == config


@pytest.mark.parametrize(
  'change, message',
  [
    (dict(max_positions=0), 'the model has no position table'),
    (dict(max_positions=65, position_offset=1), 'the weights have 64 positio'),
  ],
)
def test_what_cannot_grow_is_refused(change, message):
  with pytest.raises(ValueError, match=f'grow_positions=63: {message}'):
    positions.grown_config(EncoderConfig(**change), 63)


@pytest.mark.parametrize(
  'model, message',
  [
    (dict(grow_positions=0, weights='x'), 'expected an integer of 1 or more'),
    (dict(grow_positions='4', weights='x'), "='4'; expected an integer"),
    (dict(grow_positions=64), 'model.weights, and there are none'),
    (
      dict(grow_positions=64, weights='x', max_positions=64),
      'model.max_positions=64: give one',
    ),
  ],
)
def test_a_config_that_means_nothing_is_refused(model, message):
  given = dict(name='bert', preset='tiny', max_positions=None) | model
  with pytest.raises(ValueError, match=message):
    schema.bind(tiny_config(model=given))


@pytest.fixture(scope='module')
def stages(tmp_path_factory):
  """The workdir of the shipped config's two stages, at a tiny size."""
  folder = tmp_path_factory.mktemp('stages')
  words = ['good', 'bad', 'film', 'plot', 'a', 'the', 'long', 'story']
  rng = np.random.default_rng(0)
  lines = [' '.join(rng.choice(words, 9)) + '.' for _ in range(40)]
  for split in SPLITS.values():
    (folder / split).mkdir()
    (folder / split / 'a.txt').write_text('\n'.join(lines))
  rows = [
    json.dumps({'text': ' '.join(lines[i : i + 5]), 'label': i % 2})
    for i in range(16)
  ]
  for file in ('train.jsonl.gz', 'test_10k.jsonl.gz'):
    (folder / file).write_bytes(gzip.compress('\n'.join(rows).encode()))
  config = ponet.get_config('imdb,2048').to_dict()
  (first, pretrain), (second, tuned) = config['stages']
  assert pretrain['data']['max_length'] == 512
  assert tuned['model']['grow_positions'] == tuned['data']['max_length'] == 2048
  few = dict(batch_size=8, eval_batch_size=8, eval_splits=())
  pretrain = config_lib.override(
    pretrain,
    dict(
      data=dict(
        files={k: str(folder / v) for k, v in SPLITS.items()},
        tokenizer='train', vocab_size=60, copies=1, max_length=SHORT,
        buckets=(SHORT,), train_limit=8, **few,
      ),
      model=dict(
        preset='tiny', hidden_size=16, intermediate_size=32, num_layers=1,
        max_positions=SHORT, dtype='float32',
      ),
      train=dict(steps=1, eval_every=1),
    ),
  )  # fmt: skip
  tuned = config_lib.override(
    tuned,
    dict(
      data=dict(
        data_dir=str(folder), max_length=LONG, buckets=(LONG,), train_limit=8,
        **few,
      ),
      model=dict(grow_positions=LONG),
      methods=(('bitfit', {}),),
      train=dict(epochs=None, steps=1),
    ),
  )  # fmt: skip
  config = {'stages': ((first, pretrain), (second, tuned))}
  runs.run(config_lib.complete(config), folder / 'runs')
  return folder / 'runs'


def test_a_run_at_a_greater_length_keeps_its_size_wherever_it_goes(
  stages, tmp_path
):
  trained = tree.flatten(saved_model.load(stages / 'pretrain')[1])
  module, params = saved_model.load(stages / 'finetune')
  assert module.config.max_positions == LONG
  table = tree.flatten(params)[TABLE]
  repeated = trained[TABLE][np.arange(LONG) % SHORT]
  np.testing.assert_array_equal(table, repeated)

  run = open_run.load_run(stages / 'finetune')
  ids = np.random.default_rng(0).integers(5, 20, (2, LONG)).astype(np.int32)
  logits = functools.partial(_logits, ids)
  made = bundle.write(run, tmp_path / 'bundle')
  assert bundle.plain_model(made).config.max_positions == LONG
  backbone = str(stages / 'pretrain/model')
  again = bundle.load(tmp_path / 'bundle', backbone, backbone)
  np.testing.assert_array_equal(logits(again), logits(run))
  with pytest.raises(ValueError, match='no place for model.grow_positions=56'):
    peft_folder.write(tmp_path / 'peft', made)

  # A source of an older library holds the short table's numbers too.
  first, pretrained = saved_model.load(stages / 'pretrain')
  huggingface.save_hf(tmp_path / 'old', first, pretrained)
  path = tmp_path / 'old' / 'model.safetensors'
  stale = {'ponet.embeddings.position_ids': np.arange(SHORT)[None]}
  safetensors.numpy.save_file(safetensors.numpy.load_file(path) | stale, path)
  huggingface.save_hf(
    tmp_path / 'new', run.model, run.params, source=tmp_path / 'old'
  )
  sizes = source.read_sizes(str(tmp_path / 'new'))
  assert sizes['config'].max_positions == LONG
  tensors = safetensors.numpy.load_file(tmp_path / 'new' / 'model.safetensors')
  assert tensors['ponet.embeddings.position_embeddings.weight'].shape[0] == LONG
  assert not stale.keys() & tensors.keys()
  grown = source.read_params(
    str(tmp_path / 'old'), run.model, True, False, grow_positions=LONG
  )
  np.testing.assert_array_equal(tree.flatten(grown)[TABLE], table)


def _logits(ids, run):
  batch = {'input_ids': ids, 'attention_mask': np.ones_like(ids)}
  batch |= {'token_type_ids': ids * 0, 'weight': np.ones(len(ids), np.float32)}
  return np.asarray(run.predict_fn(batch)['logits'])
