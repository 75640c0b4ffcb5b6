"""HumSet's tasks: classes, lists of labels in JSON and CSV, empty ones."""

import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.data import batching, load, pipeline
from glue_jax.data.examples import Examples
from glue_jax.data.tasks import by_name, humset
from glue_jax.evaluation import evaluate
from glue_jax.objectives import task as objective

SECTORS = by_name.get('humset_sectors')


def test_classes_are_counted_and_sorted():
  counts = {task.name: len(task.labels) for task in humset.RECORDS}
  assert counts == {
    'humset_sectors': 11,
    'humset_pillars_1d': 7,
    'humset_pillars_2d': 6,
    'humset_subpillars_1d': 33,
    'humset_subpillars_2d': 18,
  }
  for task in humset.RECORDS:
    assert list(task.labels) == sorted(set(task.labels))
    assert by_name.num_outputs(task) == len(task.labels)


def write(tmp_path, rows):
  folder = tmp_path / 'humset'
  folder.mkdir(exist_ok=True)
  text = ''.join(json.dumps(row) + '\n' for row in rows)
  (folder / 'validation.jsonl').write_text(text)
  return load.load(SECTORS, 'validation', tmp_path)


ROWS = [
  {'excerpt': 'no food', 'sectors': ['WASH', 'Food Security'], 'lang': 'en'},
  {'excerpt': 'nothing', 'sectors': [], 'lang': 'en'},
  {'excerpt': 'unmapped', 'sectors': ['NOT_MAPPED', 'Health'], 'lang': 'en'},
]


def test_lists_become_sets_of_ids(tmp_path):
  table = write(tmp_path, ROWS)
  assert [row['label'] for row in table.rows] == [[3, 10], [], [4]]
  labels = table.labels()
  assert labels.shape == (3, 11) and labels.sum() == 3 and labels[0, 10] == 1


def test_csv_has_lists_as_text(tmp_path):
  (tmp_path / 'humset').mkdir()
  (tmp_path / 'humset' / 'validation.csv').write_text(
    "excerpt,sectors\nno food,\"['WASH', 'Food Security']\"\nnothing,[]\n"
  )
  table = load.load(SECTORS, 'validation', tmp_path)
  assert [row['label'] for row in table.rows] == [[3, 10], []]


@pytest.mark.parametrize(
  'value, message',
  [
    (['Weather'], "unknown label 'Weather'"),
    ('Health', 'is no list of labels'),
    (4, '4 is no list of labels'),
    (None, "label None in split 'validation'"),
  ],
)
def test_other_labels_are_refused(tmp_path, value, message):
  with pytest.raises(ValueError, match=message):
    write(tmp_path, [{'excerpt': 'x', 'sectors': value}])


def examples(table):
  count = len(table)
  return Examples(
    'multilabel',
    0,
    ids=np.ones(count, np.int32),
    type_ids=np.zeros(count, np.int8),
    bounds=np.arange(count + 1),
    idx=np.arange(count),
    labels=table.labels(),
  )


def test_scores_are_those_of_sets(tmp_path):
  table = write(tmp_path, ROWS)
  batches = batching.eval_batches(examples(table), 2, (4,))
  logits = 8.0 * table.labels() - 4.0
  logits[2, 0] = 4.0  # one class too many

  def predict(batch):
    return {'logits': logits[np.maximum(batch['idx'], 0)]}

  metrics, predictions = evaluate.evaluate(predict, batches, SECTORS, table)
  assert metrics['exact_accuracy'] == pytest.approx(2 / 3)
  assert next(iter(metrics)) == 'macro_f1' and metrics['loss'] > 0
  # Three classes of eleven are ever right; the others count 0.
  assert metrics['macro_f1'] == pytest.approx(3 / 11)
  records = list(predictions.records())
  assert records[0]['prediction'] == ['Food Security', 'WASH']
  assert records[1]['prediction'] == records[1]['label'] == []
  assert records[2]['prediction'] == ['Agriculture', 'Health']


def test_loss_is_the_mean_over_classes_and_padding_has_none(tmp_path):
  table = write(tmp_path, ROWS)
  batch = examples(table).batch(np.arange(3), 4, size=4)
  assert batch['labels'].shape == (4, 11) and not batch['labels'][3].any()
  outputs = {'logits': jnp.zeros((4, 11))}
  total, count, metrics = objective.LOSSES['multilabel'](
    outputs, batch, objective.Terms()
  )
  assert count == 3 and total == pytest.approx(3 * np.log(2))
  assert metrics['exact_accuracy'] == (1, 3)
  model = SimpleNamespace(family='bert', kind='classification')
  context = SimpleNamespace(task=SECTORS, model=model)
  with pytest.raises(ValueError, match='label_smoothing'):
    objective.make(context, label_smoothing=0.1)


def test_rows_are_tokenised_as_texts(tmp_path):
  write(tmp_path, ROWS)
  bundle = pipeline.build(
    SECTORS, data_dir=str(tmp_path), vocab_size=40, max_length=16,
    train_split='validation', eval_splits=(), batch_size=2,
  )  # fmt: skip
  assert bundle.train.batch(0)['labels'].shape == (2, 11)
