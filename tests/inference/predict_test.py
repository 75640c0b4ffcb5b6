"""Prediction: order, formats, own texts, and the commands themselves."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from glue_jax import api
from glue_jax.data.tasks import by_name
from glue_jax.evaluation import evaluate
from glue_jax.inference import open_run, predict
from glue_jax.reporting import files
from glue_jax.training import runs
from tests.conftest import ROOT, tiny_config


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs') / 'tiny'
  runs.run(tiny_config(train=dict(epochs=1)), folder)
  return folder


@pytest.fixture(scope='module')
def run(workdir):
  return open_run.open_run(workdir, splits=('validation',))


def test_split_is_predicted_whole_and_in_order(run, workdir):
  predictions = predict.predict_split(run, 'validation')
  table = run.bundle.tables['validation']
  assert len(table) == 500  # the limit of training's evaluations is lifted
  assert predictions.idx == [row['idx'] for row in table.rows]
  metrics, again = evaluate.evaluate(
    run.predict_fn, run.bundle.evals['validation'], run.task, table
  )
  assert (again.values == predictions.values).all()
  assert 0 <= metrics['accuracy'] <= 1


def test_own_texts_get_what_the_split_gets(run):
  predictions = predict.predict_split(run, 'validation')
  rows = [
    {'sentence': row['sentence']}
    for row in run.bundle.tables['validation'].rows[:7]
  ]
  own = predict.predict_rows(run, rows)
  assert own.idx == list(range(7))
  assert own.labels is None
  assert abs(own.probabilities - predictions.probabilities[:7]).max() < 1e-6
  with pytest.raises(ValueError, match='rows:2.*lack sentence'):
    predict.predict_rows(run, [rows[0], {'text': 'x'}])


def test_the_size_of_a_batch_changes_no_prediction(run, workdir):
  few = open_run.open_run(workdir, splits=('validation',), batch_size=7)
  assert few.bundle.evals['validation'].batch_size == 7
  ours, theirs = (predict.predict_split(r, 'validation') for r in (few, run))
  assert ours.idx == theirs.idx
  assert abs(ours.probabilities - theirs.probabilities).max() < 1e-6
  own = predict.predict_rows(few, [{'sentence': 'one'}, {'sentence': 'two'}])
  assert len(own) == 2


def test_another_task_needs_the_same_labels(run):
  with pytest.raises(ValueError, match='cannot predict ax'):
    predict.predict_task(run, by_name.get('ax'), 'test')
  predictions = predict.predict_task(run, run.task, 'test')
  assert predictions.split == 'test'
  assert len(predictions) == 500
  # Labels in another order are joined by their names.
  turned = dataclasses.replace(run.task, labels=run.task.labels[::-1])
  again = predict.predict_task(run, turned, 'test')
  assert list(again.records()) == list(predictions.records())


def test_open_run_names_seeds_and_lists_splits(workdir, tmp_path):
  for seed in (0, 3):
    (tmp_path / f'seed_{seed}').mkdir()
    begun = json.dumps({'config': {}, 'seed': seed})
    (tmp_path / f'seed_{seed}' / 'config.json').write_text(begun)
  with pytest.raises(ValueError, match=r'seeds \[0, 3\].*--seed'):
    open_run.open_run(tmp_path)
  with pytest.raises(ValueError, match='no seed 7'):
    open_run.open_run(tmp_path, seed=7)
  with pytest.raises(ValueError, match="no split 'dev'"):
    open_run.open_run(workdir, splits=('dev',))


def test_blank_rows_are_predicted_in_their_place(run, tmp_path, caplog):
  path = tmp_path / 'texts.txt'
  path.write_text('the cat\n\na b c\n')
  [own] = predict.predict_texts(run, str(path))
  assert own.idx == [0, 1, 2] and len(own) == 3
  assert '1 rows have a blank text' in caplog.text and 'row 2' in caplog.text
  [pair] = predict.predict_rows(
    run, [{'sentence': 'x', 'idx': 'a-7'}]
  ).records()
  assert pair['idx'] == 'a-7'


def test_ids_that_lack_or_are_two_are_noted(run, tmp_path, caplog):
  path = tmp_path / 'texts.jsonl'
  ids = ({'id': 2}, {'id': ' '}, {}, {'id': 'x', 'idx': 'y'}, {'id': None})
  lines = [json.dumps({'sentence': 'x', **given}) for given in ids]
  path.write_text('\n'.join(lines) + '\n')
  [own] = predict.predict_texts(run, str(path))
  assert own.idx == [2, 1, 2, 'y', 4]
  assert '3 rows lack an id, row 2 first' in caplog.text
  assert 'for 1 is the id of another row' in caplog.text
  assert 'earlier row' not in caplog.text
  assert '1 rows have both idx and id, row 4 first' in caplog.text
  caplog.clear()
  (tmp_path / 't.csv').write_text('sentence,id\na,\nb,\n')
  [own] = predict.predict_texts(run, str(tmp_path / 't.csv'))
  assert own.idx == [0, 1] and '2 rows lack an id' in caplog.text
  caplog.clear()
  path.write_text('{"sentence": "x"}\n')
  [own] = predict.predict_texts(run, str(path))
  assert own.idx == [0] and not caplog.text  # there are no ids to lack


def test_ids_that_stand_twice_are_noted(run, tmp_path, caplog):
  path = tmp_path / 'texts.jsonl'
  ids = ('a', 3, 'a', None, 3, 'a')
  lines = [json.dumps({'sentence': 'x', 'id': given}) for given in ids]
  path.write_text('\n'.join(lines))
  parts = predict.predict_texts(run, str(path))
  assert [i for own in parts for i in own.idx] == ['a', 3, 'a', 3, 3, 'a']
  assert "3 rows have an id that an earlier row has, row 3 ('a')" in caplog.text


def test_a_split_is_scored_in_batches_of_the_size_asked_for(
  workdir, monkeypatch
):
  sizes, score = set(), evaluate.evaluate

  def watched(predict_fn, batches, task, table):
    sizes.update(len(batch['idx']) for batch in batches)
    return score(predict_fn, batches, task, table)

  monkeypatch.setattr(evaluate, 'evaluate', watched)
  api.load(workdir, batch_size=40).evaluate()
  assert sizes == {40}


def test_language_modeling_has_no_predictions():
  task = by_name.make('corpus', kind='language_modeling')
  with pytest.raises(ValueError, match='launch.evaluate'):
    predict.predict_rows(type('Run', (), {'task': task}), [])


def command(name, *arguments, text=''):
  """A started command; several run side by side. None leaves stdin open."""
  process = subprocess.Popen(
    [sys.executable, '-m', f'launch.{name}', *arguments],
    cwd=ROOT,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  if text is not None:
    process.stdin.write(text)
    process.stdin.close()
    process.stdin = None
  return process


def ended(process):
  out, err = process.communicate(timeout=300)
  return process.returncode, out, err


def test_commands(workdir, tmp_path):
  """From standard input to labels; evaluate; errors in one line."""
  where = f'--workdir={workdir}'
  stdin = command('predict', where, '--input=-', text=None)
  score = command('evaluate', where, f'--output={tmp_path / "scores"}')
  lines = []
  for text in ('the cat', '', 'a b c'):  # each is answered before the next
    stdin.stdin.write(text + '\n')
    stdin.stdin.flush()
    lines.append(stdin.stdout.readline())
  stdin.stdin.close()
  stdin.stdin = None
  code, out, err = ended(stdin)
  assert code == 0 and not out, err
  records = [json.loads(line) for line in lines]
  assert [record['idx'] for record in records] == [0, 1, 2]
  assert set(records[0]['probabilities']) == {'unacceptable', 'acceptable'}
  code, out, err = ended(score)
  assert code == 0, err
  content = json.loads((tmp_path / 'scores' / 'metrics.json').read_text())
  value = content['metrics']['validation']['accuracy']
  assert f'validation  accuracy  {value:.4f}' in out
  assert len(files.read_lines(tmp_path / 'scores/validation.jsonl')) == 500
  assert (tmp_path / 'scores' / 'validation.png').stat().st_size > 5000


def test_commands_refuse_clearly(workdir, tmp_path):
  nowhere = command('evaluate', f'--workdir={tmp_path}')
  both = command('predict', f'--workdir={workdir}', '--split=a', '--input=b')
  usage = command('predict', '--help')
  code, _, err = ended(nowhere)
  assert code == 2
  assert err.strip().splitlines()[-1].startswith('error: ')
  assert 'config.json' in err
  code, out, err = ended(both)
  assert code != 0
  assert 'give either --split or --input' in out + err
  code, out, err = ended(usage)
  assert '--workdir' in out + err
  assert 'Own texts: one a line' in out + err
