"""A finished run is calibrated, and all that reads it then uses that."""

import dataclasses
import json

import numpy as np
import pytest

from glue_jax.evaluation import decisions
from glue_jax.export import huggingface, stablehlo, write
from glue_jax.inference import (
  calibrate,
  open_folder,
  open_run,
  predict,
  score,
)
from glue_jax.merging import merge, sources
from glue_jax.reporting import files, tables
from glue_jax.training import runs
from launch.probes import calibrate as command
from tests.commands import status
from tests.conftest import tiny_config

SPLIT = 'validation'
RENDERS = True


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """(folder of a run, its scores before it was calibrated, after)."""
  folder = tmp_path_factory.mktemp('calibrate') / 'run'
  config = tiny_config(task=dict(metrics=('macro_f1', 'accuracy')))
  runs.run(config, folder)
  before, _ = score.score_workdir(str(folder), folder / 'before')
  tuned, said = calibrate.calibrate(folder, temperature=True)
  assert said == tuned.said(open_run.open_run(folder).task)
  return folder, before, tuned


def test_scores_are_tuned_and_untuned_ones_stay_beside(trained, caplog):
  folder, before, tuned = trained
  result = json.loads((folder / 'result.json').read_text())
  after, rows = score.score_workdir(str(folder), folder / 'after')
  assert 'decisions.json: ' in caplog.text and 'macro_f1' in caplog.text
  assert list(after) == [SPLIT, f'{SPLIT}, untuned']
  assert after[f'{SPLIT}, untuned'] == before[SPLIT] == tuned.scores['untuned']
  assert after[SPLIT] == tuned.scores['tuned']
  assert after[SPLIT]['macro_f1'] > before[SPLIT]['macro_f1']
  assert after[SPLIT]['loss'] <= before[SPLIT]['loss']
  table = tables.metrics_table(after, rows)
  assert 'validation, untuned' in table
  content = json.loads((folder / 'after' / 'metrics.json').read_text())
  assert content['untuned'] == before
  assert content['decisions']['thresholds'] == list(tuned.thresholds)
  assert any('tuned on these rows' in note for note in content['notes'])
  plain = json.loads((folder / 'before' / 'metrics.json').read_text())
  assert 'untuned' not in plain and 'decisions' not in plain
  # What the run left is as it was.
  assert json.loads((folder / 'result.json').read_text()) == result
  assert (folder / calibrate.PICTURE).stat().st_size > 10_000


def test_predictions_use_them(trained):
  folder, _, tuned = trained
  run = open_run.open_run(folder, splits=(SPLIT,))
  found = predict.predict_split(run, SPLIT)
  cut = tuned.thresholds[0]
  np.testing.assert_array_equal(found.values, found.probabilities[:, 1] >= cut)
  written = files.read_lines(folder / 'after' / f'{SPLIT}.jsonl')
  assert [r['prediction'] for r in written] == [
    r['prediction'] for r in found.records()
  ]
  rows = run.bundle.tables[SPLIT].rows[:9]
  own = predict.predict_rows(run, [{'sentence': r['sentence']} for r in rows])
  np.testing.assert_array_equal(own.values, found.values[:9])
  without = dataclasses.replace(run, decisions=None)
  plain = predict.predict_split(without, SPLIT)
  np.testing.assert_array_equal(
    plain.values, plain.outputs['logits'].argmax(-1)
  )
  assert (plain.values != found.values).any()


def test_exports_hold_them(trained, tmp_path):
  folder, _, tuned = trained
  run = open_run.open_run(folder)
  card = huggingface.card(run, folder)
  assert f'decisions.json: {tuned.said(run.task)}' in card
  (tmp_path / 'hf').mkdir()
  huggingface.save_hf(run, tmp_path / 'hf', card)
  stablehlo.save_stablehlo(run, tmp_path / 'hlo', platforms=('cpu',))
  for name in ('hf', 'hlo'):
    assert decisions.read(tmp_path / name) == decisions.read(folder / 'model')


def test_they_belong_to_one_checkpoint(trained, caplog):
  folder, _, tuned = trained
  dataclasses.replace(tuned, step=tuned.step + 1).save(folder / 'model')
  try:
    assert open_run.open_run(folder).decisions is None
    assert 'is of step 9 and not used for step 8' in caplog.text
    caplog.clear()
    # The finished model alone is of that step as well.
    assert open_folder.open_folder(folder / 'model').decisions is None
    assert 'is of step 9 and not used for step 8' in caplog.text
  finally:
    tuned.save(folder / 'model')
  assert open_folder.open_folder(folder / 'model').decisions == tuned


def test_another_model_in_the_folder_drops_them(trained, tmp_path, caplog):
  folder, _, tuned = trained
  tuned.save(tmp_path)
  decisions.drop(tmp_path, tuned.step)
  assert decisions.read(tmp_path) == tuned and not caplog.text
  decisions.drop(tmp_path, tuned.step + 1)
  assert decisions.read(tmp_path) is None
  assert 'removed; tune again' in caplog.text
  # An export, or a merge, over a tuned one; a longer run does the same.
  plain = dataclasses.replace(open_run.open_run(folder), decisions=None)
  (tmp_path / 'hf').mkdir()
  tuned.save(tmp_path / 'hf')
  write.write(plain, tmp_path / 'hf')
  assert decisions.read(tmp_path / 'hf') is None
  group = sources.open_group(None, [str(folder)])
  home = tmp_path / 'merged' / group.sources[0].name
  home.mkdir(parents=True)
  tuned.save(home)
  merge.write(tmp_path / 'merged', group, group.models[0], {})
  assert 'decisions.json is left out' in caplog.text
  notes = json.loads((tmp_path / 'merged' / 'merge.json').read_text())['notes']
  assert any('decisions.json is left out' in note for note in notes)
  assert decisions.read(home) is None


def test_a_longer_run_drops_them(tmp_path, caplog):
  config = tiny_config(train=dict(epochs=1))
  runs.run(config, tmp_path)
  decisions.Decisions(step=4, rows=20, split=SPLIT).save(tmp_path / 'model')
  longer = tiny_config(train=dict(epochs=2))
  runs.run(longer, tmp_path, allow_config_change=True)
  assert decisions.read(tmp_path / 'model') is None
  assert 'removed; tune again' in caplog.text


def test_the_command_says_what_it_did(trained, capsys):
  folder, _, tuned = trained
  assert not status(command, f'--workdir={folder}', '--metric=accuracy')
  out = capsys.readouterr().out
  tuned.save(folder / 'model')
  assert 'thresholds for accuracy: acceptable' in out
  assert 'untuned' in out and 'ECE' in out and 'tuned on these rows' in out
