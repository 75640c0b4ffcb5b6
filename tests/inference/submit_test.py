"""Submissions: written, read back, and refused when something is wrong."""

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from glue_jax.data.tasks import by_name
from glue_jax.inference import submit
from glue_jax.metrics import scores
from tests.conftest import ROOT

FILES = {
  'CoLA.tsv': 1063,
  'SST-2.tsv': 1821,
  'MRPC.tsv': 1725,
  'QQP.tsv': 390965,
  'STS-B.tsv': 1379,
  'MNLI-m.tsv': 9796,
  'MNLI-mm.tsv': 9847,
  'QNLI.tsv': 5463,
  'RTE.tsv': 3000,
  'WNLI.tsv': 146,
  'AX.tsv': 1104,
}


@pytest.fixture(autouse=True)
def small_qqp(monkeypatch):
  """All counts are the real ones but QQP's, which would take seconds."""
  real = submit.glue_files()
  assert {f: t.splits[s] for f, (t, s) in real.items()} == FILES
  monkeypatch.setitem(by_name.get('qqp').splits, 'test', 50)


def records(file, seed=0, shuffle=True):
  """Random predictions with their true values, in a random order."""
  task, split = submit.glue_files()[file]
  rng = np.random.default_rng(seed)
  n = task.splits[split]
  order = rng.permutation(n) if shuffle else range(n)
  if task.kind == 'regression':
    values = rng.uniform(-1, 6, n)
  else:
    values = [task.labels[i] for i in rng.integers(0, len(task.labels), n)]
  return [{'idx': int(i), 'prediction': values[i]} for i in order]


def test_zip_of_all_tasks_gives_back_the_same_labels(tmp_path):
  predictions = {file: records(file) for file in FILES}
  rows = submit.write_glue(tmp_path / 'glue.zip', predictions)
  assert {row['prediction'] for row in rows} == {'from a run'}
  with zipfile.ZipFile(tmp_path / 'glue.zip') as archive:
    assert sorted(archive.namelist()) == sorted(FILES)
    assert archive.read('RTE.tsv').startswith(b'index\tprediction\n0\t')
  read = submit.read_glue(tmp_path / 'glue.zip')
  for file, (task, _) in submit.glue_files().items():
    expected = sorted(predictions[file], key=lambda record: record['idx'])
    for record, value in zip(expected, read[file], strict=True):
      if task.kind == 'regression':
        clipped = min(max(record['prediction'], 0.0), 5.0)
        assert float(value) == pytest.approx(clipped, abs=5e-4)
        assert len(value) == 5  # d.ddd
      elif task.name in ('cola', 'sst2', 'mrpc', 'qqp', 'wnli'):
        assert value in ('0', '1')
        assert task.labels[int(value)] == record['prediction']
      else:
        assert value == record['prediction']


def test_score_of_a_submission_is_the_score_of_the_predictions(tmp_path):
  predictions = records('MNLI-m.tsv')
  submit.write_glue(tmp_path / 'glue.zip', {'MNLI-m.tsv': predictions})
  labels = by_name.get('mnli').labels
  gold = np.random.default_rng(9).integers(0, 3, FILES['MNLI-m.tsv'])
  ids = {r['idx']: labels.index(r['prediction']) for r in predictions}
  ours = scores.accuracy([ids[i] for i in range(len(gold))], gold)
  read = submit.read_glue(tmp_path / 'glue.zip')['MNLI-m.tsv']
  theirs = scores.accuracy([labels.index(v) for v in read], gold)
  assert ours == pytest.approx(theirs, abs=1e-9)


def test_tasks_not_run_are_filled_and_reported(tmp_path):
  rows = submit.write_glue(
    tmp_path / 'glue.zip', {'WNLI.tsv': records('WNLI.tsv')}
  )
  sources = {row['file']: row['prediction'] for row in rows}
  assert sources.pop('WNLI.tsv') == 'from a run'
  assert sources['AX.tsv'] == 'constant entailment: not run'
  assert sources['CoLA.tsv'] == 'constant 0: not run'
  assert sources['STS-B.tsv'] == 'constant 2.500: not run'
  assert len(sources) == 10


def test_same_predictions_give_the_same_zip(tmp_path):
  for name in 'ab':
    submit.write_glue(tmp_path / name, {'RTE.tsv': records('RTE.tsv')})
  assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()


def refused(tmp_path, predictions, match):
  with pytest.raises(ValueError, match=match):
    submit.write_glue(tmp_path / 'glue.zip', predictions)
  assert not list(tmp_path.iterdir())


def test_wrong_predictions_are_refused_and_nothing_is_written(tmp_path):
  good = records('WNLI.tsv', shuffle=False)
  refused(
    tmp_path,
    {'WNLI.tsv': good[:-1]},
    'WNLI.tsv: 145 predictions; the board expects 146',
  )
  refused(tmp_path, {'WNLI.tsv': good[:-1]}, '1 of 146 indices are missing')
  doubled = good[:-1] + [good[0]]
  refused(tmp_path, {'WNLI.tsv': doubled}, 'index 0 repeated')
  beyond = good[:-1] + [{'idx': 146, 'prediction': 'entailment'}]
  refused(tmp_path, {'WNLI.tsv': beyond}, 'index 146: expected 0 to 145')
  odd = good[:-1] + [{'idx': 145, 'prediction': 'maybe'}]
  refused(tmp_path, {'WNLI.tsv': odd}, "index 145: unknown label 'maybe'")
  refused(tmp_path, {'SNLI.tsv': good}, 'SNLI.tsv: not a file of the zip')
  stsb = records('STS-B.tsv', shuffle=False)
  stsb[7] = {'idx': 7, 'prediction': float('nan')}
  refused(tmp_path, {'STS-B.tsv': stsb}, 'index 7: nan is no finite number')


def test_many_problems_are_cut_short(tmp_path):
  wrong = [{'idx': i, 'prediction': 'x'} for i in range(146)]
  refused(tmp_path, {'WNLI.tsv': wrong}, '... and 141 more problems')


def rewrite(path, out, change):
  with zipfile.ZipFile(path) as archive:
    texts = {name: archive.read(name).decode() for name in archive.namelist()}
  change(texts)
  with zipfile.ZipFile(out, 'w') as archive:
    for name, text in texts.items():
      archive.writestr(name, text)
  return out


@pytest.mark.parametrize(
  ('change', 'match'),
  [
    (lambda t: t.pop('AX.tsv'), "missing: \\['AX.tsv'\\]"),
    (
      lambda t: t.update({'sub/RTE.tsv': t.pop('RTE.tsv')}),
      "unexpected: \\['sub/RTE.tsv'\\]",
    ),
    (
      lambda t: t.update({'RTE.tsv': t['RTE.tsv'].replace('index', 'id', 1)}),
      'RTE.tsv:1: expected the header',
    ),
    (
      lambda t: t.update({'RTE.tsv': t['RTE.tsv'] + '3000\tentailment\n'}),
      'RTE.tsv: 3001 rows; expected 3000',
    ),
    (
      lambda t: t.update({'RTE.tsv': t['RTE.tsv'].replace('\n5\t', '\n6\t')}),
      "RTE.tsv:7: index '6'; expected 5",
    ),
    (
      lambda t: t.update({'STS-B.tsv': t['STS-B.tsv'].replace('2.5', '7.5')}),
      "STS-B.tsv:2: unknown value '7.500'",
    ),
    (
      lambda t: t.update({'CoLA.tsv': t['CoLA.tsv'].replace('\t0', '\tno')}),
      "CoLA.tsv:2: unknown value 'no'",
    ),
  ],
)
def test_reader_names_what_is_wrong(tmp_path, change, match):
  submit.write_glue(tmp_path / 'glue.zip', {})
  bad = rewrite(tmp_path / 'glue.zip', tmp_path / 'bad.zip', change)
  with pytest.raises(ValueError, match=match):
    submit.read_glue(bad)


def test_reader_refuses_what_is_no_zip(tmp_path):
  (tmp_path / 'x.zip').write_text('hello')
  with pytest.raises(ValueError, match='no readable zip'):
    submit.read_glue(tmp_path / 'x.zip')


def submit_command(*arguments):
  done = subprocess.run(
    [sys.executable, '-m', 'launch.submit', *arguments],
    cwd=ROOT,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    capture_output=True,
    text=True,
    timeout=300,
  )
  return done.returncode, done.stdout, done.stderr


def test_command_makes_the_zip_and_says_what_is_constant(tmp_path):
  lines = [json.dumps(record) + '\n' for record in records('WNLI.tsv')]
  (tmp_path / 'wnli.jsonl').write_text(''.join(lines))
  out = tmp_path / 'glue.zip'
  code, text, err = submit_command(
    '--benchmark=glue',
    f'--predictions=WNLI.tsv={tmp_path / "wnli.jsonl"}',
    f'--output={out}',
  )
  assert code == 0, err
  report = (tmp_path / 'glue.zip.report.txt').read_text()
  assert report in text
  assert '10 of 11 files hold a constant' in report
  with zipfile.ZipFile(out) as archive:
    counts = {
      name: archive.read(name).count(b'\n') - 1 for name in archive.namelist()
    }
  assert counts == FILES


def test_command_refuses_in_one_line(tmp_path):
  (tmp_path / 'wnli.jsonl').write_text('{"idx": 0, "prediction": "x"}\n')
  code, _, err = submit_command(
    '--benchmark=glue',
    f'--predictions=WNLI.tsv={tmp_path / "wnli.jsonl"}',
    f'--output={tmp_path / "glue.zip"}',
  )
  assert code == 2
  assert 'error: no submission written' in err
  assert '1 predictions; the board expects 146' in err
  assert not (tmp_path / 'glue.zip').exists()


def answers():
  return [
    {'id': 'b', 'prediction': '', 'null_odds': 3.5},
    {'id': 'a', 'prediction': 'Zürich', 'null_odds': -1.0},
  ]


def test_squad_json_in_the_order_of_the_split(tmp_path):
  path, odds = tmp_path / 'p.json', tmp_path / 'odds.json'
  submit.write_squad(path, answers(), ['a', 'b'], odds)
  text = path.read_text(encoding='utf-8')
  assert text == '{"a": "Zürich", "b": ""}\n'
  assert json.loads(odds.read_text()) == {'a': -1.0, 'b': 3.5}
  submit.write_squad(tmp_path / 'v1.json', answers(), ['a', 'b'])
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    'odds.json',
    'p.json',
    'v1.json',
  ]


def test_squad_json_is_refused(tmp_path):
  path = tmp_path / 'p.json'
  for rows, ids, match in (
    (answers() + answers()[:1], ['a', 'b'], "question 'b' repeated"),
    (answers(), ['a'], "question 'b' is not in the split"),
    (answers(), ['a', 'b', 'c'], "1 of 3 questions have no answer, first 'c'"),
    ([{'id': 'a', 'prediction': None}], ['a'], "'a': the answer is not a text"),
  ):
    with pytest.raises(ValueError, match=match):
      submit.write_squad(path, rows, ids)
  with pytest.raises(ValueError, match='null_odds None is no number'):
    submit.write_squad(path, [{'id': 'a', 'prediction': ''}], ['a'], path)
  assert not path.exists()
