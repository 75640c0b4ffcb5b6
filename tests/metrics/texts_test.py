"""Scores of texts, against `rouge-score` 0.1.2 and `sacrebleu`."""

import sys

import pytest

from glue_jax.metrics import texts

# (written, reference, the F of rouge1, rouge2 and rougeL there).
ROUGE = [
  ('The cat sat on the mat.', 'A cat was on the mat, sitting.',
   (0.615385, 0.363636, 0.615385)),
  ('', 'anything', (0, 0, 0)),
  ('same words Here!', 'same words here', (1, 1, 1)),
  ('b a b a c', 'a b c c b', (0.8, 0.25, 0.6)),
  ('naïve café no. 5', 'naive cafe no 5', (0.444444, 0.285714, 0.444444)),
]  # fmt: skip


@pytest.mark.parametrize(('written', 'reference', 'expected'), ROUGE)
def test_rouge(written, reference, expected):
  names = ('rouge1', 'rouge2', 'rougeL')
  found = texts.compute(names, [written], [[reference]])
  assert list(found.values()) == pytest.approx(expected, abs=1e-6)


def test_rows_are_averaged():
  found = texts.compute(('rouge1', 'exact_match'), ['a', 'b c'], [['a'], ['b']])
  assert found == pytest.approx({'rouge1': (1 + 2 / 3) / 2, 'exact_match': 0.5})


def test_bleu_and_chrf_are_the_librarys_as_fractions():
  pytest.importorskip('sacrebleu')  # the extra `texts`
  written, references = zip(*(case[:2] for case in ROUGE))
  single = [[reference] for reference in references]
  found = texts.compute(('bleu', 'chrf'), written, single)
  # Of sacrebleu 2.6.0.
  expected = {'bleu': 0.15060837680952531, 'chrf': 0.37568958370310796}
  assert found == pytest.approx(expected)


def test_rows_may_have_several_references():
  sacrebleu = pytest.importorskip('sacrebleu')
  written = ['the cat sat on the mat', 'dogs bark', 'it is cold']
  references = [
    ['a cat sat there', 'the cat sat on a mat'],
    ['dogs bark', 'all dogs bark', 'dogs do bark'],
    ['it is cold today'],
  ]
  names = ('bleu', 'chrf', 'rouge1', 'exact_match')
  found = texts.compute(names, written, references)
  # The same where a reference stands twice in place of one that isn't there.
  whole = [(own + own[:1] * 2)[:3] for own in references]
  streams = [list(column) for column in zip(*whole)]
  for name in ('bleu', 'chrf'):
    score = getattr(sacrebleu, f'corpus_{name}')(written, streams).score
    assert found[name] == pytest.approx(score / 100)
  one = texts.compute(names, written, [own[:1] for own in references])
  assert found['bleu'] > one['bleu'] and found['rouge1'] > one['rouge1']
  # Articles don't count.
  assert found['exact_match'] == pytest.approx(2 / 3)


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
  monkeypatch.setitem(sys.modules, 'sacrebleu', None)
  with pytest.raises(ImportError, match=r"pip install 'glue_jax\[texts\]'"):
    texts.check(('rouge1', 'bleu'))
  texts.check(('rouge1',))
