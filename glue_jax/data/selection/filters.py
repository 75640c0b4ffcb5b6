"""Quality filter of the DSIR paper's pipeline, for chunks of 128 words.

Xie et al. 2023 (arXiv 2302.03169); the figures and bounds are those of the
authors' experimental code. It splits words with NLTK's `word_tokenize`, which
needs a model file; here it is the tokens of `dsir.tokens`, so contractions
are cut in other places.
"""

import collections
import dataclasses
import string
from collections.abc import Sequence

from glue_jax.data.selection import dsir

# NLTK's English list of 179 words.
_STOP_WORDS = """
i me my myself we our ours ourselves you you're you've you'll you'd your yours
yourself yourselves he him his himself she she's her hers herself it it's its
itself they them their theirs themselves what which who whom this that that'll
these those am is are was were be been being have has had having do does did
doing a an the and but if or because as until while of at by for with about
against between into through during before after above below to from up down in
out on off over under again further then once here there when where why how all
any both each few more most other some such no nor not only own same so than too
very s t can will just don don't should should've now d ll m o re ve y ain aren
aren't couldn couldn't didn didn't doesn doesn't hadn hadn't hasn hasn't haven
haven't isn isn't ma mightn mightn't mustn mustn't needn needn't shan shan't
shouldn shouldn't wasn wasn't weren weren't won won't wouldn wouldn't
"""
UNINFORMATIVE = frozenset(_STOP_WORDS.split()) | set(string.punctuation)
_DIGITS = frozenset(string.digits)


@dataclasses.dataclass(frozen=True)
class Quality:
  """Figures of one document; ratios are 0 for a document without tokens.

  Attributes:
    length: tokens.
    repeating: share of the most frequent token.
    informative: share of tokens that are no stop word or punctuation mark.
    not_numeric: share of tokens that are not a single digit.
  """

  length: int
  repeating: float
  informative: float
  not_numeric: float

  @property
  def good(self) -> bool:
    """Whether the paper keeps the document: all bounds are strict."""
    return (
      40 < self.length < 500
      and 0.02 < self.repeating < 0.2
      and 0.3 < self.informative < 0.7
      and self.not_numeric > 0.8
    )


def quality(words: Sequence[str]) -> Quality:
  """Figures of a document from its lower-case tokens."""
  length = len(words)
  if not length:
    return Quality(0, 0.0, 0.0, 0.0)
  most = collections.Counter(words).most_common(1)[0][1]
  return Quality(
    length,
    most / length,
    sum(word not in UNINFORMATIVE for word in words) / length,
    sum(word not in _DIGITS for word in words) / length,
  )


def good(text: str) -> bool:
  """Whether a document passes the quality filter."""
  return quality(dsir.tokens(text)).good
