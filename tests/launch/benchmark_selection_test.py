"""The benchmark of data selection on tiny corpora."""

import json
import subprocess
import sys

import numpy as np
import pytest

from launch.benchmarks import selection
from tests.conftest import ROOT


def test_generated_texts_are_those_of_the_seed():
  texts = list(selection.generated(300, 12, seed=0))
  assert texts == list(selection.generated(300, 12, seed=0))
  assert texts != list(selection.generated(300, 12, seed=1))
  assert {len(text.split()) for text in texts} == {12} and len(texts) == 300
  words = ' '.join(texts).split()
  # Zipf: the first of 50000 words has about 1 / (ln 50000 + 0.58) of all.
  most = max(map(words.count, set(words)))
  assert 0.05 < most / len(words) < 0.13


def test_chunks_run_over_lines_but_not_over_files(tmp_path):
  (tmp_path / 'a.txt').write_text('a b\n\nc d e\nf g\n')
  (tmp_path / 'b.txt').write_text('h i j k\n')
  chunks = list(selection.chunks([str(tmp_path)], 3))
  assert chunks == ['a b c', 'd e f', 'h i j']
  path = tmp_path / 'out.jsonl'
  assert selection.write(path, iter(chunks), 2) == 2
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  assert rows == [{'text': 'a b c'}, {'text': 'd e f'}]


def test_memory_is_that_of_all_processes():
  child = 'x = bytearray(60_000_000); import time; time.sleep(1)'
  parent = (
    f'import subprocess, sys; subprocess.run([sys.executable, "-c", {child!r}])'
  )
  pytest.importorskip('psutil', reason='needs the extra bench')
  seconds, cpu, memory = selection.measure([sys.executable, '-c', parent])
  assert seconds > 1 and 0 < cpu < seconds
  assert 60 < memory < 400
  with pytest.raises(subprocess.CalledProcessError):
    selection.measure([sys.executable, '-c', 'raise SystemExit(3)'])


def test_requirements():
  both = [
    selection.row('end_to_end', 10.0, 4.0, 'documents/s'),
    {'name': 'weights', 'difference': 1e-8},
  ]
  assert list(selection.bars(both).values()) == [False, False]
  growth = [
    {'name': 'growth', 'documents': n, 'cpu': cpu, 'MB': mb}
    for n, cpu, mb in ((100, 1.0, 500.0), (1000, 11.0, 900.0))
  ]
  assert list(selection.bars(growth).values()) == [True, True]
  growth[1] |= {'cpu': 13.0, 'MB': 1001.0}
  assert list(selection.bars(growth).values()) == [False, False]


def test_both_sides_for_real(tmp_path):
  pytest.importorskip('data_selection', reason='needs the extra bench')
  command = [sys.executable, '-m', 'launch.benchmark', 'selection']
  command += ['--documents=60', '--turns=1', '--growth=50', '--threads=2']
  command += [f'--json={tmp_path / "rows.json"}', f'--work_dir={tmp_path}']
  # On corpora this small either side mostly starts up: the bars don't hold.
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode in (0, 1), done.stderr
  rows = json.loads((tmp_path / 'rows.json').read_text())
  by_name = {row['name']: row for row in rows}
  assert by_name['end_to_end']['documents'] == 60
  assert by_name['weights']['difference'] < 1e-9
  assert by_name['peak_memory']['peer'] > 20
  assert by_name['growth']['documents'] == 50
  assert 'ok     log weights differ' in done.stdout
  assert np.isfinite([by_name[n]['ratio'] for n in ('end_to_end', 'cpu')]).all()
  assert [p.name for p in tmp_path.iterdir()] == ['rows.json']
