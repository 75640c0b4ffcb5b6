"""What a checkpoint brings back, and what the host of a run can do."""

import types

import jax
import numpy as np
import pytest

from glue_jax.devices import sharding
from glue_jax.evaluation import evaluate
from glue_jax.training import session
from glue_jax.training.begin import begin
from glue_jax.training.step import INSIDE, USES
from tests.conftest import tiny_config


@pytest.fixture(scope='module')
def run():
  return begin(tiny_config(model=dict(num_layers=1)), 0)


@pytest.mark.parametrize(
  'changes, stop',
  [
    ({'stop': True}, True),
    ({'stop': False}, False),
    ({'memory': {'patience': {'best': 1.0, 'stale': 3}}}, False),
    # As written when early stopping was the host's own.
    ({'memory': {'patience': {'best': 1.0, 'finished': True}}}, True),
    ({'memory': {'patience': {'best': 1.0, 'finished': False}}}, False),
  ],
)
def test_a_run_that_ended_early_is_known_by_its_checkpoint(run, changes, stop):
  again = run.afresh(step=8)
  host = again.host
  record = {k: v for k, v in session.notes(host, {}, {}).items() if k != 'stop'}
  saved = types.SimpleNamespace(
    host=lambda kind, step: record | changes,
    state=lambda *_: host.state,
  )
  with sharding.enter(run.parts.mesh):
    session.restore_step(saved, 'last', 8, run.parts, run.tx, host)
  assert host.stop is stop and host.step == 8


def test_the_host_predicts_every_split_and_runs_programs(run):
  host, bundle = run.afresh().host, run.parts.bundle
  with sharding.enter(run.parts.mesh):
    metrics = host.evaluate()
    ours = host.predict('validation')
    known = host.predict('train')
    rows = bundle.train.batch(0)
    ask = host.program('ask', lambda apply, params, batch, factor: {
      'logits': factor * apply(params, batch)['logits'],
      'table': params['head']['out']['kernel'].sum() + batch['weight'],
    })  # fmt: skip
    said = ask(rows, 2.0)
    with pytest.raises(ValueError, match=r"no split 'test' .* \['train', 'val"):
      host.predict('test')
  table = bundle.tables['validation']
  assert evaluate.score(ours, table) == metrics['validation']
  assert list(known.labels) == list(bundle.tables['train'].labels())
  assert len(known.values) == bundle.train.num_examples
  np.testing.assert_allclose(
    said['logits'] / 2, known.outputs['logits'][rows['idx']], atol=1e-6
  )
  assert isinstance(said['logits'], np.ndarray)


def test_keys_of_the_host_differ_from_step_to_step(run):
  again = run.afresh()
  keys = []
  for again.host.step in (0, 1):
    rng = jax.random.fold_in(run.key, again.host.step)
    inside = [jax.random.fold_in(rng, USES[use]) for use in INSIDE]
    keys += [jax.random.key_data(k) for k in (again.host.key(), rng, *inside)]
  assert len({tuple(np.asarray(key)) for key in keys}) == 10


def test_the_newest_programs_are_kept(run, monkeypatch):
  monkeypatch.setattr(session, 'KEPT', 2)
  host, programs = run.afresh().host, run.parts.programs
  programs.clear()
  for name in ('a', 'b', 'a', 'c'):
    host.program(name, lambda apply, params, batch: {})
  assert [name for name, *_ in programs] == ['a', 'c']


@pytest.mark.parametrize(
  'task, kind, error',
  [
    ({}, 'mlm', "reads 'word_ids' of each row"),
    (
      dict(name='corpus', kind='next_sentence'),
      None,
      r"is scored by \['structure_accuracy'\].*'language_modeling'",
    ),
  ],
)
def test_an_objective_for_other_rows_is_refused(task, kind, error, tmp_path):
  """Before the first step: text that has no words, pairs that none scores."""
  changes = dict(
    model=dict(num_layers=1, head=kind), objective=dict(name='mlm')
  )
  if task:
    for split in ('train', 'valid'):
      (tmp_path / split).mkdir()
      text = 'one two\nthree four\n\nfive six\nseven eight\n'
      (tmp_path / split / 'a.txt').write_text(text)
    files = dict(train=f'{tmp_path}/train', validation=f'{tmp_path}/valid')
    changes |= dict(task=task, data=dict(files=files, tokenizer='train'))
  with pytest.raises(ValueError, match=error):
    begin(tiny_config(**changes), 0)
