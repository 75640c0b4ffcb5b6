"""Token arrays of every kind of task, padded batches, and the cache."""

import logging

import numpy as np
import pytest

from glue_jax.data import features, load, tokenizing, wordpiece
from glue_jax.data.examples import LOST
from glue_jax.data.table import Table
from glue_jax.data.tasks import by_name

TEXTS = [
  'the cat sat on the mat .',
  'a dog did not see the cat',
  'unbelievable doggedness of cats and mats',
]


@pytest.fixture(scope='module')
def tokenizer():
  return wordpiece.train(TEXTS * 3, 70)


def table(task, rows, labelled=True, split='train'):
  rows = [{'idx': i, **row} for i, row in enumerate(rows)]
  return Table(task, split, rows, 'rows', 'rows', labelled)


def sentences(count=7, labelled=True):
  task = by_name.make(
    'own', kind='classification', columns='text', labels='n,y'
  )
  rows = [
    {'text': ' '.join(['cat'] * (i + 1)), 'label': i % 2 if labelled else None}
    for i in range(count)
  ]
  return table(task, rows, labelled)


def test_batch_of_sentences(tokenizer):
  examples = features.tokenize(sentences(), tokenizer, 16)
  assert examples.lengths.tolist() == [3, 4, 5, 6, 7, 8, 9]
  batch = examples.batch(np.array([4, 0]), 8, size=3)
  assert batch['input_ids'].shape == (3, 8)
  assert {k: v.dtype.name for k, v in batch.items()} == {
    'input_ids': 'int32',
    'attention_mask': 'int32',
    'token_type_ids': 'int32',
    'weight': 'float32',
    'idx': 'int32',
    'labels': 'int32',
  }
  cat = tokenizer.vocab['cat']
  ids = [tokenizer.cls_id, cat, tokenizer.sep_id] + [tokenizer.pad_id] * 5
  assert batch['input_ids'][1].tolist() == ids
  assert batch['attention_mask'].sum(axis=1).tolist() == [7, 3, 0]
  assert batch['weight'].tolist() == [1, 1, 0]
  assert batch['idx'].tolist() == [4, 0, -1]
  assert batch['labels'].tolist() == [0, 0, 0]
  with pytest.raises(ValueError, match='7 tokens but the batch is 6'):
    examples.batch(np.array([4]), 6)


def test_hidden_labels_are_absent(tokenizer):
  hidden = features.tokenize(sentences(labelled=False), tokenizer, 16)
  assert 'labels' not in hidden.batch(np.arange(2), 16)


def test_take(tokenizer):
  examples = features.tokenize(sentences(), tokenizer, 16)
  rows = np.array([5, 1, 5])
  taken = examples.take(rows)
  one, other = examples.batch(rows, 8), taken.batch(np.arange(3), 8)
  for name in one:
    np.testing.assert_array_equal(one[name], other[name])


def test_truncation_is_counted(tokenizer):
  assert features.tokenize(sentences(), tokenizer, 6).truncated == 3


def test_scores_are_floats(tokenizer):
  task = by_name.make('own', kind='regression', columns='a,b')
  rows = [{'a': 'cat', 'b': 'mat', 'label': 1.5}]
  examples = features.tokenize(table(task, rows), tokenizer)
  assert examples.batch(np.array([0, -1]), 8)['labels'].tolist() == [1.5, 0]
  assert examples.labels.dtype == np.float32


def test_choices(tokenizer):
  task = by_name.make(
    'own', kind='multiple_choice', columns='p,q,x,y', choices='x,y'
  )
  rows = [
    {'p': 'cat', 'q': 'a', 'x': 'the mat', 'y': 'sat', 'label': 1},
    {'p': 'dog', 'q': 'a', 'x': 'the', 'y': 'on the mat .', 'label': 0},
  ]
  examples = features.tokenize(table(task, rows), tokenizer)
  assert (len(examples), examples.num_choices) == (2, 2)
  batch = examples.batch(np.array([1, 0, -1]), 12)
  assert batch['input_ids'].shape == (3, 2, 12)
  assert batch['attention_mask'].sum(axis=-1).tolist() == [
    [6, 9],
    [7, 6],
    [0, 0],
  ]
  assert batch['labels'].tolist() == [0, 1, 0]
  assert examples.lengths.tolist() == [7, 9]
  assert examples.take(np.array([1])).lengths.tolist() == [9]


def test_tags_sit_on_the_first_piece(tokenizer):
  task = by_name.make(
    'own', kind='token_classification', columns='words', labels='O,B,I'
  )
  rows = [
    {'words': ['the', 'doggedest', 'cat'], 'label': [1, 2, 0]},
    {'words': ['mat'], 'label': [2]},
  ]
  examples = features.tokenize(table(task, rows), tokenizer)
  batch = examples.batch(np.arange(2), 16)
  for row, expected in zip(range(2), ([1, 2, 0], [2])):
    labels = batch['labels'][row]
    assert labels[labels != -100].tolist() == expected
    words = batch['word_ids'][row]
    first = np.flatnonzero(np.diff(words, prepend=-1) * (words >= 0))
    assert np.flatnonzero(labels != -100).tolist() == first.tolist()
  assert (batch['labels'][1][3:] == -100).all()
  cut = features.tokenize(table(task, rows), tokenizer, 4)
  assert cut.truncated == 1


def span_table(context, answers, impossible=False):
  row = {
    'id': 'q',
    'question': 'see a cat on the mat',
    'context': context,
    'answers': answers,
    'is_impossible': impossible,
    'label': None,
  }
  return table(by_name.get('squad_v2'), [row, {**row, 'id': 'r'}])


def test_span_windows(tokenizer):
  context = ' '.join(['the cat sat on the mat .'] * 6) + ' a dog did not see'
  start = context.index('dog did')
  answers = {'text': ['dog did'], 'answer_start': [start]}
  windows = features.Windows(doc_stride=4, max_query_length=3)
  examples = features.tokenize(
    span_table(context, answers), tokenizer, 20, windows=windows
  )
  assert len(examples) % 2 == 0 and len(examples) > 4
  assert examples.idx.tolist() == list(range(len(examples)))
  assert examples.truncated == 2
  half = len(examples) // 2
  assert examples.example.tolist() == [0] * half + [1] * half
  answered = 0
  for i in range(len(examples)):
    low, high = examples.bounds[i : i + 2]
    chars = examples.char_offsets[low:high]
    assert (chars[:5] == -1).all()  # [CLS], three of the question, [SEP]
    if examples.starts[i]:
      answered += 1
      begin, end = chars[examples.starts[i], 0], chars[examples.ends[i], 1]
      assert context[begin:end] == 'dog did'
    else:
      assert examples.ends[i] == 0
  assert answered == 2
  batch = examples.batch(np.array([half - 1, -1]), 20)
  assert batch['start_positions'].tolist() == [examples.starts[half - 1], 0]
  assert 'labels' not in batch


def test_span_without_answer_and_without_room(tokenizer):
  none = {'text': [], 'answer_start': []}
  windows = features.Windows(doc_stride=4, max_query_length=3)
  data = span_table('the cat sat .', none, impossible=True)
  examples = features.tokenize(data, tokenizer, 20, windows=windows)
  assert not examples.starts.any() and not examples.ends.any()
  features.tokenize(data, tokenizer, 20)  # a stride that fits by default
  with pytest.raises(ValueError, match='more than doc_stride=128'):
    features.tokenize(data, tokenizer, 64, windows=features.Windows(128))


UNSEEN = (' ', '\u00a0', '\u3000', '\u2009', '\u200b', '\ufeff', '\t\u200d')


@pytest.mark.parametrize('edge', UNSEEN, ids=ascii)
def test_the_edges_of_an_answer_move_to_a_token(tokenizer, edge):
  context = f'the cat {edge}sat on{edge} the mat .'
  text = f'{edge}sat on{edge}'
  answers = {'text': [text], 'answer_start': [context.index(text)]}
  examples = features.tokenize(span_table(context, answers), tokenizer, 30)
  chars = examples.char_offsets
  begin, end = chars[examples.starts[0], 0], chars[examples.ends[0], 1]
  assert context[begin:end] == 'sat on'


def test_an_answer_without_a_token_is_refused(tokenizer):
  answers = {'text': ['\u200b'], 'answer_start': [3]}
  data = span_table('the\u200b cat', answers)
  with pytest.raises(ValueError, match='question q: the tokenizer makes no'):
    features.tokenize(data, tokenizer, 30)


def test_an_answer_in_no_window_is_lost_not_absent(tokenizer):
  context = 'the cat sat on the mat . ' * 4
  start = context.index('on')
  answers = {'text': [context[start:-2]], 'answer_start': [start]}
  windows = features.Windows(doc_stride=4, max_query_length=3)
  data = span_table(context, answers)
  examples = features.tokenize(data, tokenizer, 20, windows=windows)
  assert (examples.starts == LOST).all() and (examples.ends == LOST).all()


def same(one, other):
  for name in ('ids', 'type_ids', 'bounds', 'idx', 'labels'):
    np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
  assert (one.kind, one.truncated) == (other.kind, other.truncated)


def test_cache(tokenizer, tmp_path, monkeypatch, caplog):
  plain = features.tokenize(sentences(), tokenizer, 6)
  same(features.tokenize(sentences(), tokenizer, 6, cache_dir=tmp_path), plain)
  [path] = tmp_path.iterdir()
  with monkeypatch.context() as patch:
    patch.setattr(tokenizer, 'encode', None)
    same(
      features.tokenize(sentences(), tokenizer, 6, cache_dir=tmp_path), plain
    )
  for damage in (path.read_bytes()[:-40], b'', b'x' * 200):
    path.write_bytes(damage)
    with caplog.at_level(logging.WARNING):
      again = features.tokenize(sentences(), tokenizer, 6, cache_dir=tmp_path)
    same(again, plain)
    assert f'{path}: damaged cache' in caplog.text
    caplog.clear()
  flipped = bytearray(path.read_bytes())
  flipped[len(flipped) // 2] ^= 0xFF
  path.write_bytes(flipped)
  same(features.tokenize(sentences(), tokenizer, 6, cache_dir=tmp_path), plain)
  assert [p.suffix for p in tmp_path.iterdir()] == ['.npz']


def test_cache_key_follows_rows_tokenizer_and_settings(tokenizer, tmp_path):
  other = wordpiece.train(TEXTS, 50)
  hidden = sentences(labelled=False)
  for rows, tok, length in (
    (sentences(), tokenizer, 6),
    (sentences(), tokenizer, 7),
    (sentences(), other, 6),
    (sentences(6), tokenizer, 6),
    (hidden, tokenizer, 6),
  ):
    features.tokenize(rows, tok, length, cache_dir=tmp_path)
  assert len(list(tmp_path.iterdir())) == 5


def test_unwritable_cache(tokenizer, tmp_path, caplog):
  file = tmp_path / 'file'
  file.write_text('')
  examples = features.tokenize(sentences(), tokenizer, 6, cache_dir=file)
  same(examples, features.tokenize(sentences(), tokenizer, 6))
  assert str(file) in caplog.text and 'without the cache' in caplog.text


def test_an_empty_cache_folder_is_none(tokenizer, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)  # '' as a path is the working directory
  features.tokenize(sentences(), tokenizer, 6, cache_dir='')
  assert list(tmp_path.iterdir()) == []


def test_real_answers_are_found_again(shared):
  folder = shared / 'data'
  tokenizer = tokenizing.get_tokenizer(folder / 'vocab' / 'bert-base-uncased')
  data = load.load(
    by_name.get('squad_v2'),
    'validation',
    folder,
    files={'validation': 'dev_part.json'},
  )
  data.rows = data.rows[:300]
  examples = features.tokenize(data, tokenizer, 384)
  answered = set()
  for i, row in enumerate(examples.example):
    if examples.starts[i]:
      chars = examples.char_offsets[examples.bounds[i] :]
      begin, end = chars[examples.starts[i], 0], chars[examples.ends[i], 1]
      text = data.rows[row]['context'][begin:end]
      gold = data.rows[row]['answers']['text'][0]
      assert gold in text and len(text) - len(gold) < 12
      answered.add(row)
  assert len(answered) == sum(bool(r['answers']['text']) for r in data.rows)
