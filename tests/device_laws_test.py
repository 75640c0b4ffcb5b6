"""One result, whatever the number of devices and processes."""

import json
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from glue_jax.training import checkpoint
from tests import device_cases
from tests.conftest import ROOT, on_devices

# A usual learning rate: Adam turns the last bit of a vanishing gradient into a
# step of that size.
BASE = dict(
  model=dict(dropout=0.0, attention_dropout=0.0, num_heads=2, num_layers=1),
  data=dict(train_limit=56, eval_limit=30),
  optimizer=dict(lr=1e-3),
  train=dict(epochs=1),
)


# The first, and one whose mixer shards in its own way.
FAMILIES = ('bert', 'ponet')


def case(family='bert', **mesh):
  model = dict(BASE['model'], name=family)
  return {'changes': dict(BASE, model=model, mesh=mesh)}


def weighted(**mesh):
  """The mean is over the weights of all devices' rows."""
  weights = dict(class_weights=dict(acceptable=3.0), focal_gamma=1.0)
  made = case(**mesh)
  return {'changes': made['changes'] | {'objective': weights}}


def adapted(**mesh):
  """Frozen leaves, split over processes, are kept beside the checkpoints."""
  made = case(**mesh)
  return {'changes': made['changes'] | {'methods': [['lora', {'rank': 2}]]}}


def start(cases, out, devices, *process):
  return subprocess.Popen(
    [
      sys.executable,
      '-m',
      'tests.device_cases',
      json.dumps(cases),
      out,
      *process,
    ],
    cwd=ROOT,
    env=on_devices(devices),
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(*processes):
  for process in processes:
    text, _ = process.communicate(timeout=560)
    assert process.returncode == 0, text[-4000:]


def run(cases, out, devices):
  """In a process with so many devices; this one has one."""
  if devices == 1:
    device_cases.main(json.dumps(cases), str(out))
  else:
    finish(start(cases, str(out), devices))


def two_processes(cases, out):
  with socket.socket() as probe:
    probe.bind(('localhost', 0))
    address = f'localhost:{probe.getsockname()[1]}'
  finish(*(start(cases, str(out), 2, address, str(i)) for i in range(2)))


def outcome(workdir):
  metrics = [json.loads(x) for x in (workdir / 'metrics.jsonl').open()]
  params = safetensors.numpy.load_file(workdir / 'model/params.safetensors')
  return params, metrics


def assert_equal(ours, theirs):
  (a, lines_a), (b, lines_b) = outcome(ours), outcome(theirs)
  for name in a:
    np.testing.assert_allclose(a[name], b[name], atol=1e-5, err_msg=name)
  assert len(lines_a) == len(lines_b)
  for line_a, line_b in zip(lines_a, lines_b):
    assert line_a == pytest.approx(line_b, abs=1e-5)


@pytest.fixture(scope='module')
def one(tmp_path_factory):
  """The same runs on one device."""
  out = tmp_path_factory.mktemp('one')
  cases = {name: case(name) for name in FAMILIES}
  run(cases | {'weighted': weighted(), 'lora': adapted()}, out, 1)
  return out


@pytest.fixture(scope='module')
def four(tmp_path_factory):
  """A run on four devices that was stopped."""
  out = tmp_path_factory.mktemp('four')
  run({'run': dict(case(fsdp=4), stop=2)}, out, 4)
  assert not (out / 'run/done.json').exists()
  return out


@pytest.fixture(scope='module')
def eight(four, tmp_path_factory):
  """Runs on eight devices; one of them goes on with that of four."""
  out = tmp_path_factory.mktemp('eight')
  shutil.copytree(four / 'run', out / 'run')
  mesh = dict(data=2, fsdp=2, tensor=2)
  cases = {name: case(name, **mesh) for name in FAMILIES}
  cases |= {'data': case(data=8), 'weighted': weighted(**mesh)}
  run(cases | {'run': case(data=4, fsdp=2)}, out, 8)
  return out


def test_eight_devices_give_the_result_of_one(one, eight):
  for name in (*FAMILIES, 'weighted'):
    assert_equal(eight / name, one / name)
  assert_equal(eight / 'data', one / 'bert')


def test_two_processes_give_the_result_of_one(one, tmp_path):
  cases = {'two': case(data=2, fsdp=2), 'lora': adapted(data=1, fsdp=4)}
  two_processes(cases, tmp_path)
  assert_equal(tmp_path / 'two', one / 'bert')
  assert_equal(tmp_path / 'lora', one / 'lora')
  ours, theirs = (
    {path.name for path in (folder / 'lora/checkpoints/frozen').iterdir()}
    for folder in (tmp_path, one)
  )
  assert ours == theirs
  # Each process has written, and answers for, a part of every checkpoint.
  folder = tmp_path / 'two/checkpoints'
  saved = checkpoint.Checkpoints(folder, create=False)
  newest = saved.newest()
  first, second = (
    json.loads((folder / f'last/{newest}' / name).read_text())
    for name in ('manifest.json', 'manifest.1.json')
  )
  assert first.pop('processes') == 2 and not first.keys() & second.keys()
  assert second and all('ocdbt.process_1/' in name for name in second)
  (folder / f'last/{newest}/manifest.1.json').unlink()
  assert saved.newest() != newest


def test_a_checkpoint_of_four_devices_goes_on_with_one_and_eight(
  one, four, eight, tmp_path
):
  shutil.copytree(four / 'run', tmp_path / 'run')
  run({'run': case()}, tmp_path, 1)
  for out in (tmp_path, eight):
    assert_equal(out / 'run', one / 'bert')
