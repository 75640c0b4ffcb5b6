"""Layouts of the Polish data sets, and the records that name them."""

import numpy as np
import pytest

from glue_jax.data import load
from glue_jax.data.readers import polish
from glue_jax.data.tasks import by_name, lepiszcze


def test_thirteen_experiments():
  names = [task.name for task in lepiszcze.RECORDS]
  assert len(names) == 13 and set(names) == set(lepiszcze.HUB)
  classes = {t.name: len(t.labels) for t in lepiszcze.RECORDS}
  assert classes['dialogue_acts'] == 54 and classes['nkjp_pos'] == 35
  assert classes['kpwr_ner'] == 1 + 2 * 82
  assert classes['political_advertising'] == 1 + 2 * 9
  modes = {t.name: t.seq_mode for t in lepiszcze.RECORDS if t.seq_mode}
  assert list(modes.values()) == ['conll', 'conll', 'unit', 'unit', 'unit']
  for task in lepiszcze.RECORDS:
    assert ('validation' in task.splits) != ('validation' in task.cuts)
    assert task.metrics[0] == 'macro_f1'


def test_labelled_lines(tmp_path):
  (tmp_path / '8TAGS').mkdir()
  file = tmp_path / '8TAGS' / 'dev.txt'
  file.write_text('6 PZT opublikował decyzję .\n0 Film "trwa" dwie godziny\n')
  table = load.load(by_name.get('8tags'), 'validation', tmp_path)
  assert table.labels().tolist() == [6, 0]
  assert table.rows[1]['sentence'] == 'Film "trwa" dwie godziny'
  file.write_text('6\n')
  with pytest.raises(ValueError, match=r'dev.txt:1: .6.: expected a label'):
    load.load(by_name.get('8tags'), 'validation', tmp_path)
  file.write_text('9 zdanie\n')
  with pytest.raises(ValueError, match=r"dev.txt:1: unknown label '9'"):
    load.load(by_name.get('8tags'), 'validation', tmp_path)


def test_the_outer_layer_of_nested_entities(tmp_path):
  (tmp_path / 'nkjp_ner').mkdir()
  (tmp_path / 'nkjp_ner' / 'dev.iob').write_text(
    '-DOCSTART FILE ./a\nLeszek\tL\tsubst\tB-persName#B-persName-forename\n'
    'Miller\tM\tsubst\tI-persName#B-persName-surname\ni\ti\tconj\tO\n\n'
    'Łódź\tŁ\tsubst\tB-placeName-settlement\n'
  )
  task = by_name.get('nkjp_ner')
  table = load.load(task, 'validation', tmp_path)
  tags = [task.label_names(row['label']) for row in table.rows]
  assert tags == [
    ['B-persName', 'I-persName', 'O'],
    ['B-placeName-settlement'],
  ]
  assert table.lines == (2, 6)
  (tmp_path / 'nkjp_ner' / 'dev.iob').write_text('Leszek\n')
  with pytest.raises(ValueError, match='dev.iob:1: 1 columns, expected 2'):
    load.load(task, 'validation', tmp_path)


def punctuation(folder, bare, marked):
  folder.mkdir(exist_ok=True)
  (folder / 'in.tsv').write_text(bare)
  (folder / 'expected.tsv').write_text(marked)


def test_punctuation_is_what_follows_a_word(tmp_path):
  base = tmp_path / 'punctuation_poleval2021'
  base.mkdir()
  punctuation(
    base / 'test-A',
    'a1\tco znaczy " to " nie wiem\na2\tbiało czerwony hm tak\n',
    'Co znaczy, " to "? Nie wiem...\nbiało - czerwony; hm: tak!\n',
  )
  task = by_name.get('punctuation_restoration')
  table = load.load(task, 'test', tmp_path)
  assert table.rows[0]['tokens'] == [
    *('co', 'znaczy', '"', 'to', '"', 'nie', 'wiem')
  ]
  tags = [task.label_names(row['label']) for row in table.rows]
  assert tags == [
    ['O', 'B-,', 'O', 'O', 'B-?', 'O', 'B-.'],
    ['B--', 'B-;', 'B-:', 'B-!'],
  ]
  assert [row['idx'] for row in table.rows] == ['a1', 'a2']


def test_punctuation_errors(tmp_path):
  base = tmp_path / 'punctuation_poleval2021'
  base.mkdir()
  task = by_name.get('punctuation_restoration')
  for marked in ('co innego.\n', 'co znaczy nic.\n', 'co.\n'):
    punctuation(base / 'test-A', 'a1\tco znaczy\n', marked)
    with pytest.raises(ValueError, match=r'in.tsv:1: a1: the words are not'):
      load.load(task, 'test', tmp_path)
  punctuation(base / 'test-A', 'a1\tco\n', 'co.\nnic.\n')
  with pytest.raises(ValueError, match='1 lines, expected.tsv has 2'):
    load.load(task, 'test', tmp_path)


def test_marks_are_one_of_the_labels():
  labels = by_name.get('punctuation_restoration').labels
  assert {f'B-{mark}' for mark in polish.MARKS} == set(labels) - {'O'}


def test_a_task_without_validation_cuts_a_tenth(tmp_path):
  (tmp_path / 'psc').mkdir()
  text = ''.join(f'a{i}\tb{i}\t{i % 2}\n' for i in range(50))
  (tmp_path / 'psc' / 'train.tsv').write_text(
    'extract_text\tsummary_text\tlabel\n' + text
  )
  task = by_name.get('psc')
  sizes = [len(load.load(task, s, tmp_path)) for s in ('train', 'validation')]
  assert sizes == [45, 5]
  labels = load.load(task, 'train', tmp_path).labels()
  assert set(np.unique(labels)) == {0, 1}
