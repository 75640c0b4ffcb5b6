"""What a run does when the world is against it."""

import json
import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

from glue_jax import tree
from glue_jax.training import checkpoint, runs
from glue_jax.training.monitor import NonFinite
from glue_jax.training.state import TrainState
from glue_jax.training.train import train
from glue_jax.weights import saved_model
from tests import kill
from tests.conftest import tiny_config


def leaves(workdir):
  return tree.flatten(saved_model.load(workdir)[1])


def test_killed_at_random_moments_ends_the_same(tmp_path):
  hits, different = kill.compare(tmp_path / 'out', kills=2)
  assert (hits, different) == (2, [])


def test_sigterm_saves_and_exits_promptly_and_the_next_start_goes_on(tmp_path):
  config, workdir = tmp_path / 'config.py', tmp_path / 'run'
  text = kill.CONFIG.replace('epochs=15', 'epochs=500')
  config.write_text(text.replace('log_every=7', 'log_every=1'))
  process = kill.start(config, workdir)
  metrics = workdir / 'metrics.jsonl'
  while process.poll() is None and not metrics.exists():
    time.sleep(0.02)
  process.send_signal(signal.SIGTERM)
  sent = time.monotonic()
  assert process.wait(timeout=60) == 128 + signal.SIGTERM
  assert time.monotonic() - sent < 30
  saved = checkpoint.Checkpoints(workdir / 'checkpoints', create=False)
  step = saved.newest()
  lines = [json.loads(x) for x in metrics.read_text().splitlines()]
  assert step == lines[-1]['step']
  process = kill.start(config, workdir)
  while process.poll() is None and metrics.read_text().count('\n') <= len(
    lines
  ):
    time.sleep(0.02)
  process.kill()
  process.wait()
  again = [json.loads(x) for x in metrics.read_text().splitlines()]
  assert again[: len(lines)] == lines and again[len(lines)]['step'] == step + 1


@pytest.fixture(scope='module')
def stopped(tmp_path_factory):
  """Checkpoints of a finished run: last 4 and 8, best one of them."""
  workdir = tmp_path_factory.mktemp('run')
  train(tiny_config(), workdir, 0)
  return workdir


@pytest.mark.parametrize('damage', ['cut', 'flip', 'no manifest'])
def test_a_damaged_newest_checkpoint_is_passed_over(
  stopped, tmp_path, damage, caplog
):
  shutil.copytree(stopped / 'checkpoints', tmp_path / 'checkpoints')
  newest = tmp_path / 'checkpoints/last/8'
  data = max(newest.rglob('d/*'), key=lambda f: f.stat().st_size)
  content = data.read_bytes()
  if damage == 'cut':
    data.write_bytes(content[: len(content) // 2])
  elif damage == 'flip':
    middle = len(content) // 2
    byte = bytes([content[middle] ^ 1])
    data.write_bytes(content[:middle] + byte + content[middle + 1 :])
  else:
    (newest / 'manifest.json').unlink()
  reader = checkpoint.Checkpoints(tmp_path / 'checkpoints', create=False)
  assert reader.newest() == 4 and newest.is_dir()
  saved = checkpoint.Checkpoints(tmp_path / 'checkpoints')
  assert saved.newest() == 4
  assert 'checkpoint last of step 8 is damaged' in caplog.text
  assert (tmp_path / 'checkpoints/corrupt/last-8').is_dir()


def test_last_and_best_are_kept_apart(stopped):
  saved = checkpoint.Checkpoints(stopped / 'checkpoints', create=False)
  assert saved.steps('last') == [4, 8]
  (best,) = saved.steps('best')
  notes = saved.host('best', best)
  assert notes['best']['step'] == best == notes['step']


def test_a_best_checkpoint_that_a_kill_left_half_is_written_again(
  stopped, tmp_path
):
  """Killed after the step's evaluation, before the next of `last`."""
  workdir = shutil.copytree(stopped, tmp_path / 'run')
  shutil.rmtree(workdir / 'checkpoints/last/8')
  shutil.rmtree(workdir / 'checkpoints/best')
  half = workdir / 'checkpoints/best/8'
  shutil.copytree(stopped / 'checkpoints/last/8', half)
  (half / 'manifest.json').unlink()
  (workdir / 'done.json').unlink()
  result = train(tiny_config(), workdir, 0)
  assert result == json.loads((stopped / 'result.json').read_text())
  assert (workdir / 'checkpoints/corrupt/best-8').is_dir()


@pytest.fixture
def small_disk(tmp_path):
  """A file system of 600 kB."""
  folder = tmp_path / 'disk'
  folder.mkdir()
  mount = ['mount', '-t', 'tmpfs', '-o', 'size=600k', 'tmpfs', str(folder)]
  if os.getuid() or subprocess.run(mount, capture_output=True).returncode:
    pytest.skip('mounting a small file system needs root')
  yield folder
  subprocess.run(['umount', str(folder)], check=True)


def test_a_full_disk_is_named_and_earlier_checkpoints_stay_whole(small_disk):
  rng = np.random.default_rng(0)
  saved = checkpoint.Checkpoints(small_disk, keep=20)
  with pytest.raises(checkpoint.CheckpointError, match='could not write') as e:
    for step in range(1, 20):
      # Noise, which no compression shrinks.
      noise = {'x': rng.random(20_000, np.float32)}
      state = TrainState(np.int32(step), noise, {'params': {}}, (), {})
      saved.save('last', step, state, {})
  whole = saved.steps()
  assert whole and f'whole checkpoints there: {whole}' in str(e.value)
  again = checkpoint.Checkpoints(small_disk, keep=20)
  assert again.newest() == whole[-1]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(ValueError, match='file/run cannot be written'):
    runs.run(tiny_config(), tmp_path / 'file/run')


# The first update is finite, the products of what it leaves are not.
BURST = dict(
  optimizer=dict(lr=1e30, clip_norm=None, schedule='constant', warmup=0),
  train=dict(save_every=1),
)


def test_non_finite_loss_stops_and_names_step_and_rows(tmp_path):
  with pytest.raises(NonFinite, match=r'step 2: .*rows of the batch: \[\d+'):
    train(tiny_config(**BURST), tmp_path, 0)
  saved = checkpoint.Checkpoints(tmp_path / 'checkpoints', create=False)
  assert saved.newest() == 1


def test_non_finite_steps_can_be_skipped(tmp_path):
  burst = dict(BURST, train=dict(save_every=1, nonfinite='skip'))
  with np.errstate(all='ignore'):
    train(tiny_config(**burst), tmp_path, 0)
  record = json.loads((tmp_path / 'run.json').read_text())
  assert record['steps_skipped'] == 7
