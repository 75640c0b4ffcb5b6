"""Evaluation: every example once, in order, decoded and scored."""

import dataclasses
import json
import pathlib
import socket
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.data import batching, features, load, wordpiece
from glue_jax.data.load import Table
from glue_jax.data.tasks import by_name
from glue_jax.evaluation import evaluate
from glue_jax.evaluation.gather import gather
from glue_jax.evaluation.predictions import Predictions
from glue_jax.reporting import files


@dataclasses.dataclass
class Batches:
  """What evaluation reads of an EvalBatches."""

  batches: list
  num_examples: int
  examples: object = None

  def __iter__(self):
    return iter(self.batches)


def make_batches(n, batch_size=4, seed=0, **fields):
  """Shuffled rows in padded batches; a field's row i belongs to idx i."""
  order = np.random.default_rng(seed).permutation(n)
  batches = []
  for start in range(0, n, batch_size):
    rows = order[start : start + batch_size]
    pad = batch_size - len(rows)
    idx = np.concatenate([rows, np.full(pad, -1)]).astype(np.int32)
    batch = {'idx': idx, 'weight': (idx >= 0).astype(np.float32)}
    batches.append(
      batch | {name: np.asarray(value)[idx] for name, value in fields.items()}
    )
  return Batches(batches, n)


def make_table(task, labels, rows=None):
  labelled = labels is not None
  rows = [
    {'idx': 10 + i, 'label': labels[i] if labelled else None} | row
    for i, row in enumerate(rows or [{}] * len(labels))
  ]
  return Table(task, 'validation', rows, 'made here', 'jsonl', labelled)


RTE = by_name.get('rte')


def rte_logits(n, seed=1):
  return np.random.default_rng(seed).normal(size=(n, 2)).astype(np.float32)


def test_classification_in_order_with_names_and_scores():
  n = 11
  logits = rte_logits(n)
  labels = np.random.default_rng(2).integers(0, 2, n).tolist()
  batches = make_batches(n, logits=logits)
  compiled = jax.jit(lambda batch: {'logits': batch['logits'] + 0})
  metrics, predictions = evaluate.evaluate(
    compiled, batches, RTE, make_table(RTE, labels)
  )
  assert list(metrics) == ['accuracy', 'loss']
  assert metrics['accuracy'] == np.mean(logits.argmax(-1) == labels)
  exact = np.exp(logits.astype(float))
  exact /= exact.sum(-1, keepdims=True)
  picked = exact[np.arange(n), labels]
  assert metrics['loss'] == pytest.approx(-np.log(picked).mean(), abs=1e-6)
  record = list(predictions.records())[3]
  assert record['idx'] == 13
  assert record['prediction'] == RTE.labels[logits[3].argmax()]
  assert record['label'] == RTE.labels[labels[3]]
  assert list(record['probabilities']) == list(RTE.labels)
  np.testing.assert_allclose(
    list(record['probabilities'].values()), exact[3], atol=1e-6
  )


@pytest.mark.parametrize('batch_size', [1, 3, 4, 16])
def test_result_does_not_depend_on_the_batches(batch_size):
  n = 10
  batches = make_batches(n, batch_size, batch_size, logits=rte_logits(n))
  metrics, predictions = evaluate.evaluate(
    lambda batch: {'logits': batch['logits']},
    batches,
    RTE,
    make_table(RTE, [0, 1] * 5),
  )
  np.testing.assert_array_equal(predictions.values, rte_logits(n).argmax(-1))
  assert metrics['accuracy'] == np.mean(
    rte_logits(n).argmax(-1) == np.array([0, 1] * 5)
  )


def test_pairs_of_sums_and_counts_are_metrics():
  n = 10
  rows = dict(gate_sum=np.arange(n), gate_count=np.arange(n) % 2)
  none = dict(idle_sum=np.zeros(n), idle_count=np.zeros(n))
  batches = make_batches(n, 4, logits=rte_logits(n), **rows, **none)
  table = make_table(RTE, [0, 1] * 5)

  def measured(**changes):
    return evaluate.evaluate(lambda b: b | changes, batches, RTE, table)[0]

  assert list(measured()) == ['accuracy', 'loss', 'gate']
  assert measured()['gate'] == np.arange(n).sum() / 5
  with pytest.raises(ValueError, match="'x_sum' lacks its 'x_count'"):
    measured(x_sum=np.zeros(4))
  with pytest.raises(ValueError, match=r"metrics \['loss'\] of its own"):
    measured(loss_sum=np.ones(4), loss_count=np.ones(4))


def test_lost_and_doubled_examples_are_errors():
  def run(batch):
    return {'logits': batch['logits']}

  batches = make_batches(6, 3, logits=rte_logits(6))
  lost = Batches(batches.batches[:1], 6)
  with pytest.raises(RuntimeError, match='3 rows, 3 of them.* 6 examples'):
    gather(run, lost)
  twice = Batches(batches.batches[:1] * 2, 6)
  with pytest.raises(RuntimeError, match='6 rows, 3 of them distinct'):
    gather(run, twice)
  with pytest.raises(RuntimeError, match='no batches'):
    gather(run, Batches([], 0))


def test_unlabelled_split_refuses_before_any_work():
  table = make_table(RTE, None, [{}] * 4)

  def never(batch):
    raise AssertionError('the model was run')

  with pytest.raises(ValueError, match='no labels.*predicted but not scored'):
    evaluate.evaluate(never, make_batches(4), RTE, table)
  batches = make_batches(4, logits=rte_logits(4))
  predictions = evaluate.predict(
    lambda b: {'logits': b['logits']}, batches, RTE, table
  )
  assert predictions.labels is None
  assert 'label' not in next(predictions.records())


def test_regression_keeps_numbers():
  stsb = by_name.get('stsb')
  labels = [0.0, 2.5, 5.0, 1.0]
  logits = np.array([0.1, 2.0, 6.0, 1.5], np.float32)
  metrics, predictions = evaluate.evaluate(
    lambda b: {'logits': b['logits']},
    make_batches(4, 3, logits=logits),
    stsb,
    make_table(stsb, labels),
  )
  assert list(metrics) == ['pearson', 'spearman', 'loss']
  assert metrics['spearman'] == pytest.approx(1.0)
  assert next(predictions.records()) == {
    'idx': 10,
    'prediction': pytest.approx(0.1),
    'label': 0.0,
  }


def test_tags_come_from_the_first_token_of_each_word():
  task = by_name.make(
    'ner', kind='token_classification', columns=('tokens',), labels=('O', 'X')
  )
  rows = [{'tokens': ['a', 'b', 'c']}, {'tokens': ['d']}]
  table = make_table(task, [[0, 1, 1], [1]], rows)
  # Row 0 has words 0, 1 (two tokens) and loses word 2; the buckets differ.
  words = [np.array([-1, 0, 1, 1, -1]), np.array([-1, 0, -1])]
  logits = [
    np.eye(2)[[1, 0, 1, 0, 1]],
    np.eye(2)[[0, 1, 0]],
  ]
  batches = Batches(
    [
      {
        'idx': np.array([i]),
        'weight': np.ones(1),
        'word_ids': words[i][None],
        'logits': logits[i][None],
      }
      for i in (1, 0)
    ],
    2,
  )
  metrics, predictions = evaluate.evaluate(
    lambda b: {'logits': b['logits']}, batches, task, table
  )
  assert predictions.values == [[0, 1, -1], [1]]
  assert metrics['accuracy'] == 3 / 4  # a word beyond max_length is wrong
  record = next(predictions.records())
  assert record['prediction'] == ['O', 'X', None]
  assert record['label'] == ['O', 'X', 'X']


def test_language_modeling_is_scored_by_token():
  task = by_name.make('corpus', kind='language_modeling')
  batches = make_batches(
    5, 2, total=np.arange(5.0), count=np.array([1, 2, 3, 4, 0.0])
  )
  metrics, predictions = evaluate.evaluate(
    lambda b: {
      'loss_sum': b['total'],
      'loss_count': b['count'],
      'correct': b['count'] / 2,
    },
    batches,
    task,
    None,
  )
  assert predictions is None
  assert list(metrics) == ['perplexity', 'loss', 'accuracy']
  assert metrics['perplexity'] == pytest.approx(np.exp(1.0))
  assert metrics['accuracy'] == 0.5


def squad_table(task):
  rows = [
    {'id': 'a', 'answers': {'text': ['Rome'], 'answer_start': [0]}},
    {'id': 'b', 'answers': {'text': [], 'answer_start': []}},
  ]
  return make_table(task, [None, None], rows)


def test_answer_texts_are_scored_as_fractions():
  task = by_name.get('squad_v2')
  table = squad_table(task)
  predictions = Predictions(
    task,
    'validation',
    [10, 11],
    ['rome', 'Paris'],
    extra={'id': ['a', 'b'], 'null_odds': [-3.0, 2.0]},
  )
  metrics = evaluate.score(predictions, table)
  assert list(metrics)[:2] == ['f1', 'exact']
  assert metrics['f1'] == metrics['exact'] == 0.5
  assert metrics['HasAns_f1'] == 1.0
  assert metrics['best_f1'] == 1.0
  assert metrics['best_f1_thresh'] == -3.0
  assert not [name for name in metrics if name.endswith('total')]
  assert list(predictions.records())[1] == {
    'idx': 11,
    'prediction': 'Paris',
    'id': 'b',
    'null_odds': 2.0,
  }
  odd = dataclasses.replace(task, metrics=('bleu',))
  with pytest.raises(ValueError, match="unknown metrics \\['bleu'\\]"):
    evaluate.score(dataclasses.replace(predictions, task=odd), table)


def test_spans_found_by_the_model_become_answers():
  """Logits that point at the gold tokens give the gold texts, windows too."""
  task = by_name.get('squad_v2')
  context = 'the old town of Ulm lies on the river Danube in the far south'
  golds = ['Ulm', 'Danube', None]
  rows = [
    {
      'question': 'where ?',
      'context': context,
      'answers': {
        'text': [gold] if gold else [],
        'answer_start': [context.index(gold)] if gold else [],
      },
      'is_impossible': gold is None,
    }
    for gold in golds
  ]
  words = wordpiece.train([context, 'where ?'] * 9, 120)
  table = load.from_records(task, rows)
  table.labelled = True
  examples = features.tokenize(table, words, 14, windows=features.Windows(4, 8))
  assert len(examples) > len(table)
  batches = batching.eval_batches(examples, 2, (11, 14))

  def point(batch):
    length = batch['input_ids'].shape[1]
    return {
      f'{end}_logits': 9 * np.eye(length)[batch[f'{end}_positions']]
      for end in ('start', 'end')
    }

  metrics, predictions = evaluate.evaluate(point, batches, task, table)
  assert predictions.values == ['Ulm', 'Danube', '']
  assert metrics['f1'] == metrics['exact'] == 1.0
  assert predictions.extra['null_odds'][2] > 0


def test_primary_is_the_mean_of_the_evaluation_splits():
  mnli = by_name.get('mnli')
  metrics = {
    'validation_matched': {'accuracy': 0.8, 'loss': 1.0},
    'validation_mismatched': {'accuracy': 0.6, 'loss': 1.0},
  }
  record = evaluate.primary_record(mnli, metrics)
  assert record == {
    'metric': 'accuracy',
    'direction': 'max',
    'splits': list(metrics),
    'value': pytest.approx(0.7),
  }
  assert evaluate.primary(mnli, {}) is None


def test_saved_predictions_are_json_lines(tmp_path):
  batches = make_batches(5, logits=rte_logits(5))
  table = make_table(RTE, [0, 1, 0, 1, 1])

  def run(b):
    return {'logits': jnp.asarray(b['logits'])}

  predictions = evaluate.predict(run, batches, RTE, table)
  path = tmp_path / 'predictions' / 'validation.jsonl'
  predictions.save(path)
  assert files.read_lines(path) == list(predictions.records())


def test_two_processes_count_every_example_once(tmp_path):
  """Real processes: local rows and global arrays are both gathered whole."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    address = f'localhost:{free.getsockname()[1]}'
  script = tmp_path / 'worker.py'
  script.write_text(
    textwrap.dedent("""
    import json, sys
    import jax, numpy as np
    jax.config.update('jax_platforms', 'cpu')
    rank = int(sys.argv[2])
    jax.distributed.initialize(sys.argv[1], 2, rank)
    from jax.sharding import NamedSharding, PartitionSpec
    from glue_jax.evaluation.gather import gather
    from tests.evaluation.evaluate_test import Batches, make_batches

    n = 7
    mesh = jax.make_mesh((2,), ('data',))
    rows = NamedSharding(mesh, PartitionSpec('data'))
    values = np.arange(n, dtype=np.float32)
    halves = [
      {k: v[2 * rank : 2 * rank + 2] for k, v in batch.items()}
      for batch in make_batches(n, 4, value=values)
    ]
    double = jax.jit(lambda x: 2 * x)
    def run(batch):
      whole = jax.make_array_from_process_local_data(rows, batch['value'])
      return {'global': double(whole), 'local': batch['value'] + 1}
    rows = gather(run, Batches(halves, n))
    print(json.dumps({k: v.tolist() for k, v in rows.items()}))
    """)
  )
  root = pathlib.Path(__file__).parents[2]
  workers = [
    subprocess.Popen(
      [sys.executable, script, address, str(rank)],
      cwd=root,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      env={'PYTHONPATH': str(root), 'PATH': '/usr/bin:/bin'},
    )
    for rank in range(2)
  ]
  for worker in workers:
    out, err = worker.communicate(timeout=120)
    assert worker.returncode == 0, err[-2000:]
    assert json.loads(out.splitlines()[-1]) == {
      'idx': list(range(7)),
      'global': [2.0 * i for i in range(7)],
      'local': [i + 1.0 for i in range(7)],
    }


def test_the_loss_of_a_sure_model_is_not_minus_zero():
  task = by_name.get('cola')
  logits = np.array([[0.0, 900.0], [900.0, 0.0]])
  found = Predictions(
    task, 'validation', [0, 1], [1, 0], logits, np.array([1, 0]),
    outputs={'logits': logits},
  )  # fmt: skip
  loss = evaluate.score(found, make_table(task, [1, 0]))['loss']
  assert str(loss) == '0.0'
