"""Scores of answer texts: SQuAD 1.1, SQuAD 2.0 and ReCoRD.

Rajpurkar et al. 2016, arXiv 1606.05250; 2018, arXiv 1806.03822; Zhang et al.
2018, arXiv 1810.12885. The rules are those of the three official scripts,
oddities included: each is named where it happens. SQuAD values are on the
0-100 scale, ReCoRD values on 0-1, as the scripts print them.
"""

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

_PUNCTUATION = str.maketrans('', '', string.punctuation)
_ARTICLES = re.compile(r'\b(a|an|the)\b')

Answers = Mapping[str, Sequence[str]]  # question id -> gold texts


def normalize(text: str) -> str:
  """Lower case, no ASCII punctuation, no articles, single spaces.

  Punctuation is deleted, not replaced: 'New-York' becomes 'newyork'.
  """
  text = text.lower().translate(_PUNCTUATION)
  return ' '.join(_ARTICLES.sub(' ', text).split())


def exact(prediction: str, gold: str) -> int:
  """1 if both texts are equal after `normalize`."""
  return int(normalize(prediction) == normalize(gold))


def token_f1(prediction: str, gold: str) -> float:
  """F1 of the two multisets of tokens; 0 when nothing is shared.

  Two empty texts share nothing and give 0, although `exact` gives 1: in SQuAD
  1.1 the exact match may therefore exceed F1.
  """
  ours, theirs = normalize(prediction).split(), normalize(gold).split()
  shared = sum((Counter(ours) & Counter(theirs)).values())
  if not shared:
    return 0.0
  precision, recall = shared / len(ours), shared / len(theirs)
  return 2 * precision * recall / (precision + recall)


def token_f1_v2(prediction: str, gold: str) -> float:
  """As `token_f1`, but two texts without tokens agree (SQuAD 2.0)."""
  ours, theirs = normalize(prediction), normalize(gold)
  if not ours or not theirs:
    return float(ours == theirs)
  return token_f1(prediction, gold)


def squad_v1(answers: Answers, predictions: Mapping[str, str]) -> dict:
  """SQuAD 1.1: best match over the gold texts, averaged over all questions.

  A question without a prediction scores 0.

  Returns:
    {'exact_match', 'f1'} on the 0-100 scale.
  """
  _known(answers, predictions)
  em = f1 = 0.0
  for key, texts in answers.items():
    if key in predictions:
      em += max(exact(predictions[key], text) for text in texts)
      f1 += max(token_f1(predictions[key], text) for text in texts)
  return {
    'exact_match': 100 * em / len(answers),
    'f1': 100 * f1 / len(answers),
  }


def squad_v2_scores(
  answers: Answers, predictions: Mapping[str, str]
) -> tuple[dict[str, float], dict[str, float]]:
  """Exact match and F1 (0-1) of every question of SQuAD 2.0.

  Gold texts that normalise to nothing are dropped; with none left the only
  right answer is ''.

  Raises:
    ValueError: a question has no prediction (the official script would leave
      it out of the total, and so report a score of another question set).
  """
  _known(answers, predictions)
  missing = [key for key in answers if key not in predictions]
  if missing:
    raise ValueError(
      f'{len(missing)} of {len(answers)} questions have no prediction, first '
      f'{missing[0]!r}; SQuAD 2.0 needs one for each ("" = no answer)'
    )
  em, f1 = {}, {}
  for key, texts in answers.items():
    gold = [text for text in texts if normalize(text)] or ['']
    em[key] = float(max(exact(predictions[key], text) for text in gold))
    f1[key] = max(token_f1_v2(predictions[key], text) for text in gold)
  return em, f1


def squad_v2(
  answers: Answers,
  predictions: Mapping[str, str],
  no_answer: Mapping[str, float] | None = None,
  threshold: float = 1.0,
) -> dict[str, float]:
  """SQuAD 2.0 scores at a threshold, their parts, and the best thresholds.

  Args:
    answers: gold texts; an empty list means unanswerable.
    predictions: {id: text}.
    no_answer: {id: probability or odds of no answer}; above `threshold` the
      answer counts as ''. The best thresholds are given only with it.
    threshold: the official default 1.0 leaves predictions as they are.

  Returns:
    exact, f1, total and the same with HasAns_ and NoAns_ (where there are such
    questions), best_exact, best_exact_thresh, best_f1, best_f1_thresh.
  """
  em, f1 = squad_v2_scores(answers, predictions)
  has = {key: bool(texts) for key, texts in answers.items()}
  if no_answer is not None:
    missing = [key for key in answers if key not in no_answer]
    if missing:
      raise ValueError(
        f'{len(missing)} questions have no no-answer score, first '
        f'{missing[0]!r}'
      )
  cut = {
    key: no_answer is not None and no_answer[key] > threshold for key in answers
  }

  def part(keys, prefix=''):
    if not keys:
      return {}

    def mean(scores):
      return (
        100
        * sum(float(not has[k]) if cut[k] else scores[k] for k in keys)
        / len(keys)
      )

    return {
      f'{prefix}exact': mean(em),
      f'{prefix}f1': mean(f1),
      f'{prefix}total': len(keys),
    }

  result = part(list(answers))
  result |= part([k for k in answers if has[k]], 'HasAns_')
  result |= part([k for k in answers if not has[k]], 'NoAns_')
  if no_answer is not None:
    for name, scores in (('exact', em), ('f1', f1)):
      best, at = _best_threshold(scores, predictions, no_answer, has)
      result[f'best_{name}'], result[f'best_{name}_thresh'] = best, at
  return result


def record(answers: Answers, predictions: Mapping[str, str]) -> dict:
  """ReCoRD: best match over the gold texts; a missing query scores 0.

  Returns:
    {'exact_match', 'f1'} in 0-1 and 'correct_ids', the ids matched exactly.
  """
  _known(answers, predictions)
  f1, correct = 0.0, []
  for key, texts in answers.items():
    if key not in predictions:
      continue
    if max(exact(predictions[key], text) for text in texts):
      correct.append(key)
    f1 += max(token_f1(predictions[key], text) for text in texts)
  return {
    'exact_match': len(correct) / len(answers),
    'f1': f1 / len(answers),
    'correct_ids': correct,
  }


def _best_threshold(scores, predictions, no_answer, has):
  """Best score (0-100) over thresholds, and the first threshold reaching it.

  Starts from "everything unanswerable" and takes the questions by rising
  no-answer probability; ties keep the order of `no_answer`.
  """
  current = float(sum(not answerable for answerable in has.values()))
  best, at = current, 0.0
  for key in sorted(no_answer, key=no_answer.get):
    if key not in scores:
      continue
    if has[key]:
      current += scores[key]
    elif predictions[key]:
      current -= 1
    if current > best:
      best, at = current, no_answer[key]
  return 100 * best / len(scores), at


def _known(answers: Answers, predictions: Mapping[str, str]) -> None:
  if not answers:
    raise ValueError('no questions to score')
  extra = [key for key in predictions if key not in answers]
  if extra:
    raise ValueError(
      f'{len(extra)} predictions are for unknown questions, first {extra[0]!r}'
    )
