"""Which folder is the run: one answer for a run, seeds, stages and others."""

import json

import pytest

from glue_jax.weights import run_folder, saved_model, source


def begin(folder, seed=0):
  """Makes the folder of a run as its start leaves it."""
  folder.mkdir(parents=True)
  record = {'config': {'task': {'name': folder.name}}, 'seed': seed}
  (folder / 'config.json').write_text(json.dumps(record))
  return folder


def finish(workdir, **content):
  (workdir / 'done.json').write_text(json.dumps(content))


@pytest.fixture
def stages(tmp_path):
  """A workdir of two stages, the second with two seeds."""
  begin(tmp_path / 'pretrain', 1)
  for seed in (1, 10):
    begin(tmp_path / 'finetune' / f'seed_{seed}', seed)
  (tmp_path / 'notes').mkdir()
  finish(tmp_path, stages=['pretrain', 'finetune'])
  return tmp_path


def names(runs, workdir):
  return [
    (str(run.path.relative_to(workdir)), run.stage, run.seed) for run in runs
  ]


def test_a_run_is_its_own_folder(tmp_path):
  folder = begin(tmp_path / 'rte', 3)
  run = run_folder.RunFolder(folder, '', 3)
  assert run_folder.list_runs(folder) == [run]
  assert run_folder.one(str(folder), seed=3) == run
  assert run_folder.is_run(folder) and run_folder.is_workdir(folder)
  assert run_folder.read_config(folder).task['name'] == 'rte'
  with pytest.raises(ValueError, match=r'has no seed 4; there are \[3\]'):
    run_folder.one(folder, seed=4)
  with pytest.raises(ValueError, match="no stage 'x'; it has no stages"):
    run_folder.one(folder, stage='x')


def test_seeds_are_listed_by_number_and_one_is_chosen(tmp_path):
  for seed in (10, 2):
    begin(tmp_path / f'seed_{seed}', seed)
  (tmp_path / 'seed_7').mkdir()  # not begun
  assert names(run_folder.list_runs(tmp_path), tmp_path) == [
    ('seed_2', '', 2),
    ('seed_10', '', 10),
  ]
  with pytest.raises(ValueError, match=r'seeds \[2, 10\]; choose.*--seed'):
    run_folder.one(tmp_path)
  assert run_folder.one(tmp_path, seed=10).path == tmp_path / 'seed_10'
  assert run_folder.one(tmp_path / 'seed_2').seed == 2
  assert not run_folder.is_run(tmp_path) and run_folder.is_workdir(tmp_path)
  with pytest.raises(ValueError, match=r'has no seed 7; there are \[2, 10\]'):
    run_folder.list_runs(tmp_path, seed=7)


def test_stages_are_listed_in_their_order_and_one_is_chosen(stages):
  assert names(run_folder.list_runs(stages), stages) == [
    ('pretrain', 'pretrain', 1),
    ('finetune/seed_1', 'finetune', 1),
    ('finetune/seed_10', 'finetune', 10),
  ]
  with pytest.raises(ValueError, match="'pretrain', 'finetune'.*--stage"):
    run_folder.one(stages)
  with pytest.raises(ValueError, match=r'seeds \[1, 10\].*--seed'):
    run_folder.one(stages, 'finetune')
  assert run_folder.one(stages, 'pretrain').path == stages / 'pretrain'
  assert run_folder.one(stages, seed=10).stage == 'finetune'
  assert len(run_folder.list_runs(stages, seed=1)) == 2
  with pytest.raises(ValueError, match="no stage 'x'; there are .'pretrain'"):
    run_folder.list_runs(stages, 'x')
  with pytest.raises(ValueError, match='seeds'):
    run_folder.one(stages / 'finetune')


def test_a_folder_that_is_no_run_is_named(tmp_path):
  with pytest.raises(ValueError, match='missing is no folder'):
    run_folder.one(tmp_path / 'missing')
  with pytest.raises(ValueError, match='no workdir of a run: it has no config'):
    run_folder.one(tmp_path)
  # A folder of Hugging Face has a config.json of another content.
  (tmp_path / 'config.json').write_text('{"model_type": "bert"}')
  assert not run_folder.is_run(tmp_path)
  with pytest.raises(ValueError, match='no workdir of a run'):
    run_folder.read_config(tmp_path)
  (tmp_path / 'config.json').write_text('{half')
  assert not run_folder.is_workdir(tmp_path)
  # Runs that merely lie together are no stages of one.
  begin(tmp_path / 'rte')
  with pytest.raises(ValueError, match=r"choose one of \['rte'\]"):
    run_folder.list_runs(tmp_path)


def test_a_source_of_weights_has_the_same_answer(stages):
  home = stages / 'pretrain' / 'model'
  with pytest.raises(ValueError, match='--stage'):
    source.read_sizes(str(stages))
  with pytest.raises(ValueError, match='--seed'):
    source.load_tuned(str(stages / 'finetune'))
  with pytest.raises(ValueError, match='pretrain holds no finished model'):
    saved_model.find(stages / 'pretrain')
  home.mkdir()
  (home / saved_model.MODEL).write_text('{}')
  assert saved_model.find(stages / 'pretrain') == home
  assert saved_model.find(home) == home
  assert saved_model.find(stages / 'notes') == stages / 'notes'
