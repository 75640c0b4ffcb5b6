"""The real tensorflow-datasets builders, from local files, no TensorFlow."""

import json
import shutil
import sys

import pytest

from glue_jax.data import load
from glue_jax.data.readers import tfds
from glue_jax.data.tasks import by_name

PAIR = 'index\tsentence1\tsentence2'


def write(path, text):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text, encoding='utf-8')


@pytest.fixture
def raw(tmp_path):
  """Tiny files in the layout of the official archives."""
  root = tmp_path / 'raw'
  marks = ''.join(f's\t{i % 2}\t\tSentence "{i}\n' for i in range(9))
  write(root / 'CoLA' / 'train.tsv', marks)
  write(root / 'CoLA' / 'dev.tsv', marks[: marks.index('4')].rsplit('\n', 1)[0])
  write(root / 'CoLA' / 'test.tsv', 'index\tsentence\n0\tZażółć.\n1\tB.\n')
  names = ('entailment', 'not_entailment')
  rows = [f'{i}\tA{i}.\tB.\t{names[i % 2]}' for i in range(20)]
  for split in ('train', 'dev'):
    write(root / 'RTE' / f'{split}.tsv', '\n'.join([PAIR + '\tlabel', *rows]))
  write(root / 'RTE' / 'test.tsv', f'{PAIR}\n0\tx\ty\n1\tz\tw\n')
  return root


def test_builder_gives_the_rows_of_the_raw_files(raw, tmp_path):
  for name in ('cola', 'rte'):
    task = by_name.get(name)
    folder = tfds.prepare(task, tmp_path / 'tfds', raw)
    assert folder == tmp_path / 'tfds' / 'glue' / name / '2.0.0'
    assert list(folder.glob('*.array_record*'))
    for split in ('train', 'validation', 'test'):
      prepared = load.load(task, split, tmp_path / 'tfds')
      plain = load.load(task, split, raw)
      assert prepared.format == 'tfds' and plain.format == 'tsv'
      assert prepared.rows == plain.rows
      assert prepared.fingerprint == plain.fingerprint
  assert load.load(task, 'train', folder).rows[3]['sentence1'] == 'A3.'
  assert 'tensorflow' not in sys.modules


def test_mrpc_takes_its_splits_from_a_list_of_ids(tmp_path):
  raw = tmp_path / 'raw' / 'MRPC'
  header = '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n'
  rows = ''.join(f'{i % 2}\t{i}\t{i + 50}\tA{i}.\tB.\n' for i in range(6))
  write(raw / 'msr_paraphrase_train.txt', header + rows)
  write(raw / 'msr_paraphrase_test.txt', header + rows.split('\n')[0] + '\n')
  write(raw / 'mrpc_dev_ids.tsv', '1\t51\n4\t54\n')
  task = by_name.get('mrpc')
  tfds.prepare(task, tmp_path, raw.parent)
  tables = {s: load.load(task, s, tmp_path) for s in task.splits}
  assert [row['idx'] for row in tables['validation'].rows] == [1, 4]
  assert [row['idx'] for row in tables['train'].rows] == [0, 2, 3, 5]
  assert not tables['test'].labelled


def test_squad_builder(tmp_path):
  for split in ('train', 'dev'):
    question = {
      'id': 'q',
      'question': 'Who?',
      'answers': [{'text': 'Ann', 'answer_start': 4}],
    }
    part = {'context': 'See Ann.', 'qas': [question]}
    data = {'version': '1', 'data': [{'title': 'T', 'paragraphs': [part]}]}
    write(tmp_path / 'raw' / f'{split}-v1.1.json', json.dumps(data))
  task = by_name.get('squad_v1')
  tfds.prepare(task, tmp_path, tmp_path / 'raw')
  row = load.load(task, 'train', tmp_path).rows[0]
  assert row['answers'] == {'text': ['Ann'], 'answer_start': [4]}
  assert row['context'] == 'See Ann.' and row['is_impossible'] is False


def test_errors(raw, tmp_path):
  with pytest.raises(ValueError, match='not in tensorflow-datasets'):
    tfds.prepare(by_name.get('mini_sentiment'), tmp_path)
  task = by_name.get('rte')
  folder = tfds.prepare(task, tmp_path / 'tfds', raw)
  with pytest.raises(ValueError, match=r"no split 'x'.*'train'"):
    list(tfds.read(folder, 'x'))
  info = folder / 'dataset_info.json'
  info.write_text(info.read_text().replace('array_record', 'tfrecord'))
  with pytest.raises(ValueError, match="'tfrecord', which needs TensorFlow"):
    load.load(task, 'train', tmp_path / 'tfds')


def test_only_whole_folders_are_read(raw, tmp_path):
  task, root = by_name.get('rte'), tmp_path / 'tfds'
  folder = tfds.prepare(task, root, raw)
  left = folder.with_name('2.0.1.incompleteABC123')
  shutil.copytree(folder, left)
  older = shutil.copytree(folder, folder.with_name('1.10.0'))
  assert tfds.find(task, root) == folder
  shutil.copytree(older, folder.with_name('10.0.0'))
  assert tfds.find(task, root).name == '10.0.0'
  info, [shard] = folder / 'dataset_info.json', folder.glob('*validation*')
  text, whole = info.read_text(), shard.read_bytes()

  def refused(message):
    with pytest.raises(ValueError) as error:
      load.load(task, 'validation', folder)
    assert str(shard) in str(error.value)
    assert message in str(error.value)
    assert 'prepare it again' in str(error.value)
    assert '\n' not in str(error.value)

  info.write_text(text.replace('"20"', '"19"'))
  refused('20 records can be read, dataset_info.json says 19')
  info.write_text(text)
  for damaged in (b'', whole[:70000], whole[: len(whole) // 3]):
    shard.write_bytes(damaged)
    refused('0 records can be read, dataset_info.json says 20')
  wrong = bytearray(whole)
  for place in range(200, 1200):  # of the records, not of their index
    wrong[place] ^= 255
  shard.write_bytes(wrong)
  refused('a damaged file')
  shard.unlink()
  refused('is missing')
