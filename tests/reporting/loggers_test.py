"""Weights & Biases and MLflow, offline: what the packages themselves read."""

import struct

import pytest

from glue_jax.reporting import logger, writers

CONFIG = {'optimizer': {'lr': 0.1}, 'seeds': [0]}
RESULT = {'metrics': {'validation': {'accuracy': 0.75}}, 'step': 4}


def run(workdir, name, start_step=None, steps=(1, 2), result=None, **config):
  about = logger.Run(workdir, 'suite/one', CONFIG | config, 3)
  loggers = logger.make([name])
  writer = writers.Writer(workdir, start_step, True, loggers, about)
  for step in steps:
    writer.scalars(step, {'train/loss': 1 / step, 'lr': float('nan')})
    writer.scalars(step, {'validation/accuracy': step / 4})
  writer.close(result)


def wandb_records(workdir):
  """The records of each start, as the package's own protocol buffers."""
  from wandb.proto import wandb_internal_pb2

  for path in sorted(workdir.glob('wandb/offline-run-*/run-*.wandb')):
    records = []
    for data in log_records(path.read_bytes()):
      record = wandb_internal_pb2.Record()
      record.ParseFromString(data)
      records.append(record)
    yield records


def log_records(data, block=32768):
  """Records of a LevelDB log: blocks of (CRC, length, kind, part) chunks."""
  assert data.startswith(b':W&B')
  at, parts = 7, []
  while at + 7 <= len(data):
    if block - at % block < 7:  # the rest of a block is padding
      at += block - at % block
      continue
    _, size, kind = struct.unpack('<IHB', data[at : at + 7])
    parts.append(data[at + 7 : at + 7 + size])
    at += 7 + size
    if kind in (1, 4):  # whole, or its last part
      yield b''.join(parts)
      parts = []


def test_wandb_gets_config_lines_and_result_of_one_run(tmp_path, monkeypatch):
  monkeypatch.setenv('WANDB_MODE', 'offline')
  run(tmp_path, 'wandb')
  run(tmp_path, 'wandb', 2, (3, 4), RESULT)
  first, second = wandb_records(tmp_path)
  runs = [r.run for r in (*first, *second) if r.HasField('run')]
  assert len({r.run_id for r in runs}) == 1
  assert {(r.project, r.display_name, r.run_group) for r in runs} == {
    ('glue_jax', 'suite/one', 'suite')
  }
  config = {u.key: u.value_json for u in runs[0].config.update}
  assert config['seed'] == '3' and '0.1' in config['optimizer']
  rows = [
    {i.key or '/'.join(i.nested_key): i.value_json for i in r.history.item}
    for records in (first, second)
    for r in records
    if r.HasField('history')
  ]
  assert [row['_step'] for row in rows] == ['1', '2', '3', '4']
  assert [row['train/loss'] for row in rows[:2]] == ['1', '0.5']
  assert rows[3]['validation/accuracy'] == '1'
  summary = {
    u.key or '/'.join(u.nested_key): u.value_json
    for r in second
    if r.HasField('summary')
    for u in r.summary.update
  }
  assert summary['result/validation/accuracy'] == '0.75'
  codes = [r.exit.exit_code for r in (*first, *second) if r.HasField('exit')]
  assert codes == [1, 0]


@pytest.fixture
def tracking(tmp_path, monkeypatch):
  """A folder that MLflow keeps runs in, and its client."""
  from mlflow import MlflowClient

  uri = (tmp_path / 'mlruns').as_uri()
  monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
  monkeypatch.setenv('MLFLOW_TRACKING_URI', uri)
  return MlflowClient(uri)


def test_mlflow_gets_config_lines_and_result_of_one_run(tmp_path, tracking):
  run(tmp_path / 'run', 'mlflow')
  experiment = tracking.get_experiment_by_name('glue_jax').experiment_id
  (stopped,) = tracking.search_runs([experiment])
  assert stopped.info.status == 'FAILED'
  run(tmp_path / 'run', 'mlflow', 2, (3, 4), RESULT, seeds=[1])
  (found,) = tracking.search_runs([experiment])
  assert found.info.status == 'FINISHED' and found.info.run_name == 'suite/one'
  assert found.data.params == {
    'optimizer.lr': '0.1',
    'seeds': '[0]',  # as it was begun; config.json has the newest
    'seed': '3',
  }
  history = tracking.get_metric_history(found.info.run_id, 'train/loss')
  assert [(m.step, m.value) for m in history] == [
    (s, 1 / s) for s in (1, 2, 3, 4)
  ]
  assert found.data.metrics['result/validation/accuracy'] == 0.75
  names = {a.path for a in tracking.list_artifacts(found.info.run_id)}
  assert names == {'config.json', 'result.json'}


def test_mlflow_that_cannot_be_reached_is_off(tmp_path, monkeypatch, caplog):
  blocked = tmp_path / 'file'
  blocked.write_text('')
  monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
  monkeypatch.setenv('MLFLOW_TRACKING_URI', (blocked / 'mlruns').as_uri())
  with caplog.at_level('WARNING'):
    run(tmp_path / 'run', 'mlflow', result=RESULT)
  said = [r.getMessage() for r in caplog.records if r.name == 'absl']
  assert len(said) == 1
  assert said[0].startswith('the logger mlflow is off, the run goes on')
  lines = (tmp_path / 'run/metrics.jsonl').read_text().splitlines()
  assert len(lines) == 4


def test_tensorboard_that_cannot_write_is_off(tmp_path, caplog):
  (tmp_path / 'tb').write_text('a file')
  run(tmp_path, 'tensorboard', result=RESULT)
  (said,) = [r.getMessage() for r in caplog.records if r.name == 'absl']
  assert said.startswith('the logger tensorboard is off') and 'tb' in said
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  assert len(lines) == 4
