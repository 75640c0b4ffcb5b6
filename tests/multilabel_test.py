"""Own data with several labels a row: from the YAML file to the export."""

import csv
import json

import numpy as np
import pytest

from glue_jax.data import load
from glue_jax.data.tasks import by_name
from glue_jax.evaluation import decisions
from glue_jax.export import huggingface
from glue_jax.inference import (
  calibrate,
  open_run,
  predict,
  score,
  write_predictions,
)
from glue_jax.metrics import scores
from glue_jax.reporting import files
from glue_jax.training import runs
from launch import data as command
from tests.commands import status
from tests.conftest import tiny_config

TOPICS = {'sport': 'ball goal', 'food': 'bread soup', 'true': 'fact proof'}
TASK = """\
name: topics
dataset: csv:.
columns: {text: text}
target: topics
label_names: [sport, food, 'true']
kind: multilabel
metric: [f1_micro, f1_macro, exact_accuracy]
splits: {train: train, validation: validation}
"""


def rows(seed, count):
  rng = np.random.default_rng(seed)
  for i in range(count):
    names = [name for name in TOPICS if rng.random() < 0.4]
    words = [rng.choice(TOPICS[name].split()) for name in names]
    words += list(rng.choice(['the', 'a', 'old', 'we'], 4))
    yield f'n{seed}-{i}', ' '.join(rng.permutation(words)), names


def write(folder, content=None, **changes):
  for seed, (split, count) in enumerate([('train', 60), ('validation', 30)]):
    with (folder / f'{split}.csv').open('w', newline='') as file:
      lines = csv.writer(file)
      lines.writerow(['id', 'text', 'topics'])
      for idx, text, names in rows(seed, count):
        lines.writerow([idx, text, json.dumps(names)])
  if content is not None:
    (folder / 'train.csv').write_text(content)
  text = TASK
  for old, new in changes.values():
    text = text.replace(old, new)
  (folder / 'task.yaml').write_text(text)
  return folder / 'task.yaml'


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  top = tmp_path_factory.mktemp('topics')
  config = tiny_config(
    task=dict(name=str(write(top))),
    data=dict(train_limit=None, eval_limit=None),
    model=dict(num_layers=1),
    train=dict(epochs=4),
  )
  runs.run(config, top / 'run')
  return top / 'run'


def test_scores_are_those_of_the_predictions(workdir):
  records = files.read_lines(workdir / 'predictions' / 'validation.jsonl')
  golds = {idx: names for idx, _, names in rows(1, 30)}
  assert [r['label'] for r in records] == [golds[r['idx']] for r in records]
  assert any(not r['label'] for r in records)  # a row may have no label
  for record in records:
    above = [n for n, p in record['probabilities'].items() if p > 0.5]
    assert record['prediction'] == above
  ours, gold = (
    np.array([[name in r[key] for name in TOPICS] for r in records])
    for key in ('prediction', 'label')
  )
  expected = scores.multilabel(ours, gold)
  result = json.loads((workdir / 'result.json').read_text())
  found = result['metrics']['validation']
  assert list(found)[:3] == ['micro_f1', 'macro_f1', 'exact_accuracy']
  for name in ('micro_f1', 'macro_f1', 'exact_accuracy'):
    assert found[name] == pytest.approx(expected[name])
  assert result['primary']['metric'] == 'micro_f1'


def test_own_files_keep_their_ids(workdir, tmp_path):
  run = open_run.open_run(workdir)
  (tmp_path / 'own.csv').write_text('id,text\n"a,1",the ball\nb,we\n')
  parts = predict.predict_texts(run, str(tmp_path / 'own.csv'))
  write_predictions.write_parts(parts, tmp_path / 'out.csv', 'csv')
  with (tmp_path / 'out.csv').open(newline='') as file:
    out = list(csv.DictReader(file))
  assert [row['idx'] for row in out] == ['a,1', 'b']
  for row in out:
    above = [name for name in TOPICS if float(row[f'p({name})']) > 0.5]
    assert json.loads(row['prediction']) == above


def test_thresholds_and_export(workdir, tmp_path):
  before, _ = score.score_workdir(str(workdir), tmp_path / 'before')
  tuned, _ = calibrate.calibrate(workdir)
  try:
    assert tuned.metric == 'micro_f1' and len(set(tuned.thresholds)) == 1
    after, _ = score.score_workdir(str(workdir), tmp_path / 'after')
    assert after['validation, untuned'] == before['validation']
    assert after['validation']['micro_f1'] > before['validation']['micro_f1']
    run = open_run.open_run(workdir)
    found = predict.predict_rows(run, [{'text': 'the ball soup'}])
    (tmp_path / 'hf').mkdir()
    huggingface.save_hf(run, tmp_path / 'hf', '')
    config = json.loads((tmp_path / 'hf' / 'config.json').read_text())
    assert config['problem_type'] == 'multi_label_classification'
    assert config['id2label'] == {'0': 'sport', '1': 'food', '2': 'true'}
    transformers = pytest.importorskip('transformers')
    pipeline = transformers.pipeline(
      'text-classification', model=str(tmp_path / 'hf'), top_k=None
    )
    (given,) = pipeline(['the ball soup'])
    peer = {item['label']: item['score'] for item in given}
    plain = 1 / (1 + np.exp(-found.outputs['logits'][0] * tuned.temperature))
    for name, value in zip(TOPICS, plain):
      assert peer[name] == pytest.approx(value, abs=1e-5)
  finally:
    (workdir / 'model' / decisions.FILE).unlink()


@pytest.mark.parametrize(
  'content, message',
  [
    ('x,"[""sport"", ""art""]"', "train.csv:2: unknown label 'art'"),
    ('x,sport', r"train.csv:2: 'sport' is no list .* \[\"a\", \"b\"\]"),
    ('x,"sport, food"', "'sport, food' is no list of labels; expected names"),
    ('x,', r'marks a hidden label.*; a row with no label has \[\]'),
  ],
)
def test_mistakes_in_rows(tmp_path, content, message):
  path = write(tmp_path, f'text,topics\n{content}\n')
  with pytest.raises(ValueError, match=message):
    load.load(by_name.make(str(path)), 'train')


def test_label_texts_are_json_or_python(tmp_path):
  texts = '["sport", "true"]', "['food']", '[]', '["sport", "sport"]', '[true]'
  lines = (f'x{i},"{t.replace(chr(34), chr(34) * 2)}"\n' for i, t in
           enumerate(texts))  # fmt: skip
  path = write(tmp_path, 'text,topics\n' + ''.join(lines))
  table = load.load(by_name.make(str(path)), 'train')
  assert [row['label'] for row in table.rows] == [[0, 2], [1], [], [0], [2]]


def test_names_and_metrics_that_do_not_fit(tmp_path):
  twice = write(tmp_path, names=('[sport, food,', '[sport, sport, food,'))
  with pytest.raises(ValueError, match="label_names: 'sport' is given twice"):
    by_name.make(str(twice))
  wrong = write(tmp_path, metric=('f1_micro', 'accuracy'))
  with pytest.raises(ValueError, match="metric: 'accuracy'"):
    by_name.make(str(wrong))


def test_the_check_counts_labels(tmp_path, capsys):
  path = write(tmp_path)
  assert not status(command, 'check', f'--task={path}', arguments=True)
  assert '60 rows, labelled, csv' in capsys.readouterr().out
