"""Which runs of a workdir are scored, and where the scores are written."""

import json

import pytest

from glue_jax.inference import open_run, score


@pytest.fixture
def opened(monkeypatch):
  """Folders that were opened; scoring writes down the seed alone."""
  folders = []

  def open_one(folder, which, seed, splits, data_dir):
    folders.append((folder, which, splits))
    return None

  def score_ranks(run, seed, output, ranks):
    return {'validation': {'accuracy': float(seed)}}

  monkeypatch.setattr(open_run, 'open_run', open_one)
  monkeypatch.setattr(score, 'score_ranks', score_ranks)
  return folders


def begin(folder, seed):
  folder.mkdir(parents=True)
  begun = {'config': {}, 'seed': seed}
  (folder / 'config.json').write_text(json.dumps(begun))


def test_one_seed(tmp_path, opened):
  begin(tmp_path / 'run', 3)
  table = score.score_workdir(tmp_path / 'run', tmp_path / 'out', 'best')
  assert table == {'validation': {'accuracy': 3.0}}
  assert opened == [(tmp_path / 'run', 'best', None)]


def test_several_seeds(tmp_path, opened):
  for seed in (0, 1):
    begin(tmp_path / f'seed_{seed}', seed)
  table = score.score_workdir(tmp_path, tmp_path / 'out', splits=['test'])
  assert table['validation']['accuracy']['mean'] == 0.5
  assert [folder.name for folder, _, _ in opened] == ['seed_0', 'seed_1']
  assert opened[0][2] == ('test',)
  table = score.score_workdir(tmp_path, tmp_path / 'out', seed=1)
  assert table == {'validation': {'accuracy': 1.0}}


def test_stages(tmp_path, opened):
  for stage in ('first', 'second'):
    begin(tmp_path / stage, 7)
  done = {'stages': ['second', 'first']}
  (tmp_path / 'done.json').write_text(json.dumps(done))
  table = score.score_workdir(tmp_path, tmp_path / 'out')
  assert list(table) == ['second, validation', 'first, validation']
  table = score.score_workdir(tmp_path, tmp_path / 'out', stage='first')
  assert table == {'validation': {'accuracy': 7.0}}
  with pytest.raises(ValueError, match='third'):
    score.score_workdir(tmp_path, tmp_path / 'out', stage='third')


def test_no_run(tmp_path, opened):
  with pytest.raises(ValueError, match='nowhere'):
    score.score_workdir(tmp_path / 'nowhere', tmp_path / 'out')
  assert opened == []


def test_ranks():
  assert score.parse_ranks('1..3') == (1, 2, 3)
  assert score.parse_ranks('1,4') == (1, 4)
  for wrong in ('', '3..1', 'a', '1..b'):
    with pytest.raises(ValueError, match="expected '1..8' or '1,2,4'"):
      score.parse_ranks(wrong)
