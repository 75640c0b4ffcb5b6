"""Segments of texts, and pairs of sentence runs."""

import numpy as np
import pytest

from glue_jax.data import (
  features,
  segments,
  sentence_pairs,
  tokenizing,
  wordpiece,
)
from glue_jax.data.load import from_records
from glue_jax.data.tasks import by_name

TEXT = 'He met Dr. Who. "No!" she said.\nIt is 3 p.m. now. Really?'


@pytest.fixture(scope='module')
def tokenizer():
  return wordpiece.train([TEXT, 'one two three four five six'], 90)


def test_sentences_and_paragraphs_are_cut_by_the_rule():
  def cut(text, kind):
    return [
      text[a:b].strip()
      for a, b in zip(
        segments.starts(text, kind),
        [*segments.starts(text, kind)[1:], None],
        strict=True,
      )
    ]

  # The rule knows no abbreviations.
  assert cut(TEXT, 'sentence') == [
    'He met Dr.', 'Who.', '"No!" she said.', 'It is 3 p.m. now.', 'Really?',
  ]  # fmt: skip
  assert cut('a b\n\n\nc. D\ne', 'paragraph') == ['a b', 'c. D\ne']
  assert segments.starts('', 'sentence').tolist() == [0]


@pytest.mark.parametrize('kind', ['sentence', 2])
def test_ids_run_from_cls_to_the_last_separator(tokenizer, kind):
  task = by_name.make(
    'own', kind='classification', columns=('a', 'b'), labels=('x', 'y')
  )
  rows = [
    {'a': 'One two. Three', 'b': 'four five six'},
    {'a': 'one', 'b': 'two'},
  ]
  table = from_records(task, rows, 'rows')
  examples = features.tokenize(table, tokenizer, 64, segments=kind)
  plain = features.tokenize(table, tokenizer, 64)
  np.testing.assert_array_equal(examples.ids, plain.ids)
  batch = examples.batch(np.arange(2), 64)
  ids, real = batch['segment_ids'], batch['attention_mask'] == 1
  special = np.isin(batch['input_ids'], (tokenizer.cls_id, tokenizer.sep_id))
  for row in range(2):
    one = ids[row][real[row]]
    steps = np.diff(one)
    assert one[0] == 0 and set(steps) <= {0, 1}
    # A special token is alone in its segment.
    assert all((one == i).sum() == 1 for i in one[special[row][real[row]]])
  assert (ids[~real] == -1).all()
  if kind == 'sentence':
    assert ids[0].max() == 5 and ids[1].max() == 4
  else:
    inner = ids[0][real[0] & ~special[0]]
    assert np.bincount(inner).max() == 2


def test_segments_are_refused_where_they_mean_nothing(tokenizer):
  with pytest.raises(ValueError, match="data.segments='page'; expected one of"):
    segments.check('page')
  task = by_name.make('own', kind='token_classification', columns=('w',),
                    labels=('x', 'y'))  # fmt: skip
  table = from_records(task, [{'w': ['one', 'two']}], 'rows')
  with pytest.raises(ValueError, match='task own is token_classification'):
    features.tokenize(table, tokenizer, 16, segments='sentence')


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  """Two documents; each line's first word is its own."""
  folder = tmp_path_factory.mktemp('corpus')
  for name, first in (('a', 0), ('b', 100)):
    lines = [f'n{i} ' + 'x ' * (i % 5) for i in range(first, first + 60)]
    (folder / f'{name}.txt').write_text('\n'.join(lines))
  words = [f'n{i}' for i in range(160)] + ['x']
  vocab = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *words]
  path = folder / 'vocab.txt'
  path.write_text('\n'.join(vocab))
  (folder / 'tokenizer_config.json').write_text(
    '{"tokenizer_class": "BertTokenizer", "do_lower_case": true}'
  )
  return folder, tokenizing.get_tokenizer(folder)


def test_pairs_are_what_their_label_says(corpus):
  folder, tokenizer = corpus
  files = [folder / 'a.txt', folder / 'b.txt']
  examples = sentence_pairs.pairs(files, tokenizer, 24, copies=8)
  names = {i: word for word, i in tokenizer.vocab.items()}
  counts = np.bincount(examples.labels, minlength=3)
  assert (
    len(examples) == counts.sum() > 100 and (counts > 0.2 * len(examples)).all()
  )
  assert examples.lengths.max() <= 24
  for row in range(len(examples)):
    low, high = examples.bounds[row : row + 2]
    words = [names[int(i)] for i in examples.ids[low:high]]
    types = examples.type_ids[low:high]
    numbers = ([], [])
    for word, side in zip(words, types, strict=True):
      if word[0] == 'n':
        numbers[side].append(int(word[1:]))
    a, b = numbers
    for side in (a, b):  # sentences of a side follow each other
      assert side == list(range(side[0], side[0] + len(side))) if side else True
    if not a or not b or len(words) == 24:
      continue  # cut: the border sentences may have lost their first word
    following = {0: b[0] - a[-1], 1: a[0] - b[-1]}
    if examples.labels[row] in following:
      assert following[examples.labels[row]] == 1
    else:
      assert following != {0: 1, 1: 1}
  again = sentence_pairs.pairs(files, tokenizer, 24, copies=8)
  np.testing.assert_array_equal(examples.ids, again.ids)


@pytest.mark.parametrize('kind', ['next_sentence', 'sentence_order'])
def test_pairs_of_two_labels(corpus, kind):
  folder, tokenizer = corpus
  files = [folder / 'a.txt', folder / 'b.txt']
  examples = sentence_pairs.pairs(files, tokenizer, 24, kind=kind, copies=8)
  assert examples.kind == kind
  assert (np.bincount(examples.labels) > 0.35 * len(examples)).all()
  names = {i: word for word, i in tokenizer.vocab.items()}
  document = {}
  for number, path in enumerate(files):
    words = path.read_text().lower().split()
    document |= dict.fromkeys((w for w in words if w[0] == 'n'), number)
  seen = set()
  for row, label in enumerate(examples.labels):
    low, high = examples.bounds[row : row + 2]
    sides = [
      [
        names[int(i)]
        for i, side in zip(examples.ids[low:high], examples.type_ids[low:high])
        if side == which and names[int(i)][0] == 'n'
      ]
      for which in (0, 1)
    ]
    if not all(sides):
      continue
    one, two = (document[side[0]] for side in sides)
    seen.add((label, one == two))
    if kind == 'sentence_order' and high - low < 24:
      first, second = sides if not label else sides[::-1]
      assert int(second[0][1:]) - int(first[-1][1:]) == 1
  # Another document's where it doesn't follow, and only there.
  other = kind == 'sentence_order'
  assert seen == {(0, True), (1, other)}


def test_a_corpus_too_small_for_pairs_is_refused(corpus, tmp_path):
  _, tokenizer = corpus
  (tmp_path / 'one.txt').write_text('n1 x\n')
  with pytest.raises(ValueError, match='fewer than two sentences'):
    sentence_pairs.pairs([tmp_path / 'one.txt'], tokenizer, 24)


def test_sentences_by_rule_run_over_line_ends(corpus, tmp_path):
  _, tokenizer = corpus
  text = 'N1 x x. N2\nx. N3\n\nN4 x. N5 x x'
  (tmp_path / 'novel.txt').write_text(text)
  examples = sentence_pairs.pairs(
    [tmp_path / 'novel.txt'], tokenizer, 40, sentences='rule'
  )
  ids = examples.batch(np.arange(len(examples)), 40)['segment_ids']
  # Five sentences beside [CLS] and two [SEP].
  assert ids.max() + 1 == 8
  with pytest.raises(ValueError, match="data.sentences='nltk'; expected one"):
    sentence_pairs.pairs([tmp_path], tokenizer, 40, sentences='nltk')
