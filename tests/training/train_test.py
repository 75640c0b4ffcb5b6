"""The one loop, run with every kind of part through it unchanged."""

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy

from glue_jax import tree
from glue_jax.training import begin, runs, schema, sections
from glue_jax.training.train import train
from glue_jax.weights import saved_model
from tests.conftest import tiny_config


def leaves(workdir):
  return tree.flatten(saved_model.load(workdir)[1])


def run(workdir, **changes):
  return train(tiny_config(**changes), workdir, 0)


def initial(**changes):
  """The leaves that a run begins with."""
  parts = begin.build(schema.bind(tiny_config(**changes), 8), 0)
  return {n: np.asarray(x) for n, x in tree.flatten(parts.params).items()}


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """A finished run of full fine-tuning."""
  workdir = tmp_path_factory.mktemp('full')
  run(workdir)
  return workdir


def test_a_run_leaves_what_the_readme_says(finished):
  for name in (
    'config.json',
    'run.json',
    'metrics.jsonl',
    'curves.png',
    'result.json',
    'done.json',
    'predictions/validation.jsonl',
    'model/model.json',
    'model/params.safetensors',
    'model/tokenizer.json',
    'checkpoints/last/8/manifest.json',
  ):
    assert (finished / name).stat().st_size > 0, name
  lines = (finished / 'predictions/validation.jsonl').read_text().splitlines()
  assert len(lines) == 32
  record = json.loads((finished / 'run.json').read_text())
  assert record['programs_compiled'] == 1
  rows = record['result']['rows']['validation']
  assert rows == {'used': 32, 'given': 500}
  assert record['versions']['jax'] and record['examples_per_s'] > 0


def test_a_finished_run_is_not_run_again(finished):
  before = (finished / 'run.json').read_text()
  result = run(finished)
  assert result['step'] == 8
  assert (finished / 'run.json').read_text() == before


def test_another_config_is_refused_with_a_diff(finished):
  with pytest.raises(ValueError, match=r'optimizer.lr: 0.01 -> 0.02'):
    run(finished, optimizer=dict(lr=0.02))


def test_a_finished_run_is_trained_on_for_longer(finished, tmp_path):
  shutil.copytree(finished, tmp_path / 'run')
  longer = tiny_config(train=dict(epochs=3))
  result = runs.run(longer, tmp_path / 'run', allow_config_change=True)
  assert result['step'] == 12
  begun = json.loads((tmp_path / 'run/config.json').read_text())
  assert begun['config']['train']['epochs'] == 3
  record = json.loads((tmp_path / 'run/run.json').read_text())
  assert record['trained_earlier_by'] == begun['earlier']
  assert begun['earlier'][0]['until_step'] == 8
  lines = (tmp_path / 'run/metrics.jsonl').read_text().splitlines()
  rates = {r['step']: r['lr'] for r in map(json.loads, lines) if 'lr' in r}
  assert list(rates) == [2, 4, 6, 8, 10, 12]
  assert rates[8] < rates[10] > rates[12]  # the schedule of the new length
  assert runs.run(longer, tmp_path / 'run') == result
  with pytest.raises(ValueError, match='trained to step 12 and 12 are asked'):
    changed = tiny_config(train=dict(epochs=3), optimizer=dict(lr=0.5))
    runs.run(changed, tmp_path / 'run', allow_config_change=True)
  assert json.loads((tmp_path / 'run/config.json').read_text()) == begun


@pytest.mark.parametrize(
  'epochs, per_epoch, steps',
  [(0.1, 30, 3), (1.1, 10, 11), (0.1, 4, 1), (0.001, 4, 1), (2, 7, 14)],
)
def test_a_part_of_an_epoch_is_rounded_up(epochs, per_epoch, steps):
  assert sections.Schedule(epochs=epochs).total_steps(per_epoch) == steps


def test_a_run_of_a_part_of_an_epoch_logs_evaluates_and_saves(tmp_path):
  assert run(tmp_path, train=dict(epochs=0.3, log_every=20))['step'] == 2
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  names = {name for line in lines for name in json.loads(line)}
  assert {'train/loss', 'lr', 'validation/accuracy'} <= names
  for kind in ('last', 'best'):
    assert (tmp_path / f'checkpoints/{kind}/2/manifest.json').is_file()


def test_full_fine_tuning_learns_every_leaf(finished):
  before, after = initial(), leaves(finished)
  same = {n for n in before if np.array_equal(before[n], after[n])}
  assert same == set()


@pytest.mark.parametrize(
  'name, kwargs, learns',
  [
    ('lora', dict(rank=2), r'.*(query|value)/kernel|head/.*'),
    ('houlsby', dict(size=4), r'.*ln_(attn|ffn)/.*|head/.*'),
  ],
)
def test_frozen_leaves_stay_bit_equal(tmp_path, name, kwargs, learns):
  methods = ((name, kwargs),)
  run(tmp_path, methods=methods)
  before = initial()
  after = safetensors.numpy.load_file(tmp_path / 'model/params.safetensors')
  moved = {n for n in before if not np.array_equal(before[n], after[n])}
  assert moved == {n for n in before if tree.matches(learns, n)}


def test_a_model_with_unmerged_adapters_is_not_taken_for_a_plain_one(tmp_path):
  run(tmp_path, methods=(('houlsby', dict(size=4)),), train=dict(epochs=1))
  with pytest.raises(ValueError, match='no plain model.*adapter'):
    saved_model.load(tmp_path)


def test_a_run_that_gets_no_better_ends_early_and_stays_ended(tmp_path):
  changes = dict(optimizer=dict(lr=0.0), train=dict(epochs=9, patience=2))
  # Only the first evaluation is better than all before it.
  result = run(tmp_path, **changes)
  assert result['step'] == 3 * 4
  # Killed after its last checkpoint: it is exported, not trained on.
  (tmp_path / 'done.json').unlink()
  assert run(tmp_path, **changes) == result
  assert (tmp_path / 'done.json').is_file()


def test_bootstrapping_changes_labels_by_the_current_parameters(
  finished, tmp_path
):
  methods = (('bootstrapping', dict(beta=0.5)),)
  run(tmp_path, methods=methods)
  ours, plain = leaves(tmp_path), leaves(finished)
  assert not np.array_equal(ours['head/out/kernel'], plain['head/out/kernel'])
  losses = [
    json.loads(line).get('train/loss')
    for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()
  ]
  assert np.isfinite([x for x in losses if x is not None]).all()


def test_gradual_unfreezing_changes_the_program_by_epoch(tmp_path):
  methods = (('gradual_unfreezing', {}),)
  run(tmp_path / 'a', methods=methods, train=dict(epochs=1))
  run(tmp_path / 'b', methods=methods, train=dict(epochs=4))
  start = initial()
  one, four = (leaves(tmp_path / w) for w in 'ab')

  def moved(a):
    return {n for n in a if not np.array_equal(a[n], start[n])}

  assert moved(one) == {n for n in one if not n.startswith('encoder/')}
  assert moved(four) == set(four)
  record = json.loads((tmp_path / 'b' / 'run.json').read_text())
  assert record['programs_compiled'] == 4


def test_distillation_in_stages_and_the_teacher_stays(tmp_path):
  stages = (
    ('teacher', {}),
    (
      'student',
      dict(
        model=dict(num_layers=1),
        methods=(('distillation', dict(teacher='stage:teacher')),),
      ),
    ),
  )
  result = runs.run(tiny_config(stages=stages), tmp_path)
  assert set(result['stages']) == {'teacher', 'student'}
  text = (tmp_path / 'student' / 'metrics.jsonl').read_text()
  assert 'train/distillation' in text
  student, _ = saved_model.load(tmp_path / 'student')
  assert student.config.num_layers == 1


def test_a_stage_that_comes_later_cannot_be_referred_to(tmp_path):
  stages = (('a', dict(model=dict(weights='stage:b'))), ('b', {}))
  with pytest.raises(ValueError, match="'stage:b'; earlier stages are"):
    runs.run(tiny_config(stages=stages), tmp_path)


def test_masked_language_modelling_on_own_files_then_fine_tuning(tmp_path):
  corpus = tmp_path / 'corpus'
  corpus.mkdir()
  words = ['the', 'cat', 'saw', 'a', 'dog', 'and', 'bird', 'near', 'old']
  rng = np.random.default_rng(0)
  for name in ('train', 'validation'):
    text = ' '.join(rng.choice(words, 4000))
    (corpus / f'{name}.txt').write_text(text)
  files = {n: str(corpus / f'{n}.txt') for n in ('train', 'validation')}
  pretrain = dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(files=files, train_limit=None, eval_limit=None),
    objective=dict(name='mlm'),
    train=dict(epochs=None, steps=30),
  )
  tune = dict(
    model=dict(weights='stage:pretrain', name=None, preset=None),
    data=dict(tokenizer='stage:pretrain'),
  )
  config = tiny_config(stages=(('pretrain', pretrain), ('tune', tune)))
  result = runs.run(config, tmp_path / 'run')
  losses = [
    json.loads(line)['validation/loss']
    for line in (tmp_path / 'run/pretrain/metrics.jsonl')
    .read_text()
    .splitlines()
    if 'validation/loss' in line
  ]
  assert losses[-1] < np.log(len(set(words)) + 5)
  assert result['task'] == 'mini_acceptability'


def test_several_seeds_are_one_run(tmp_path):
  result = runs.run(tiny_config(seeds=(0, 1)), tmp_path)
  values = result['primary']['values']
  assert len(values) == 2
  assert result['primary']['value'] == pytest.approx(np.mean(values))
  assert (tmp_path / 'curves.png').is_file()
  assert json.loads((tmp_path / 'done.json').read_text()) == {'seeds': [0, 1]}


def test_accumulation_gives_the_gradient_of_the_one_big_batch(tmp_path):
  off = dict(dropout=0.0, attention_dropout=0.0)
  # 56 rows in batches of 16: the last one is half padding.
  data = dict(train_limit=56)
  run(tmp_path / 'a', model=off, data=data)
  run(tmp_path / 'b', model=off, data=data, train=dict(accumulate=4))
  a, b = leaves(tmp_path / 'a'), leaves(tmp_path / 'b')
  for name in a:
    np.testing.assert_allclose(a[name], b[name], atol=1e-5, err_msg=name)
