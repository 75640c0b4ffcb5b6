"""mini-GLUE: three tasks made by a seeded grammar.

Each is built so that a bag of words carries little or nothing:

  mini_acceptability  The verb agrees in number with its own subject, not with
      the noun beside it, and words stand in order. A violation flips numbers
      or swaps two neighbours, so both classes use the same words.
  mini_sentiment      Adjectives are negated, and in a contrast only the main
      clause counts ("not dull", "although the plot is great , ..."). One
      sentence in five has one clause only ("it is not a dull film").
  mini_entailment     Who did what to whom (active or passive), negation, and
      quantifiers. The pairs of quantifiers are weighted so that each word is
      as frequent, on each side, in both classes.

No sentence (or pair) occurs twice, within a split or across splits.
"""

import functools
import random
from collections.abc import Callable

SIZES = {'train': 8000, 'validation': 500, 'test': 500}

_NOUNS = ['dog', 'cat', 'bird', 'girl', 'boy', 'king', 'cook', 'nurse']
_PLACES = ['near', 'behind', 'beside', 'above']
_VERBS = ['sleep', 'run', 'sing', 'wait', 'jump', 'smile']
_ADJECTIVES = ['old', 'small', 'happy', 'quiet']
_ADVERBS = ['today', 'often', 'here', 'again']

_GOOD = ['good', 'great', 'funny', 'clever', 'bright', 'lovely']
_BAD = ['bad', 'dull', 'boring', 'silly', 'weak', 'ugly']
_THINGS = ['film', 'plot', 'cast', 'story', 'music', 'ending']

_PEOPLE = _NOUNS[:4]
_ACTIONS = ['chased', 'helped', 'followed', 'called', 'pushed']
_STEMS = dict(zip(_ACTIONS, ['chase', 'help', 'follow', 'call', 'push']))
_TAILS = [*_ADVERBS, 'yesterday', 'there', 'twice', 'alone']
_STATES = ['asleep', 'hungry', 'outside', 'late', 'ready', 'tired']

# Weights with equal counts of each word, on each side, in both classes.
_ENTAILED = {('all', 'all'): 2, ('all', 'some'): 1}
_ENTAILED |= {('some', 'some'): 1, ('no', 'no'): 3}
_REFUTED = {('some', 'all'): 1, ('no', 'some'): 2}
_REFUTED |= {('all', 'no'): 3, ('no', 'all'): 1}


def generate(name: str, split: str, seed: int = 0) -> list[dict]:
  """Rows of one split.

  Args:
    name: mini_acceptability, mini_sentiment or mini_entailment.
    split: train, validation or test.
    seed: another seed draws other sentences of the same grammar.

  Returns:
    Rows with the text columns, `label` and `idx`.

  Raises:
    ValueError: unknown task or split.
  """
  if name not in _GRAMMARS or split not in SIZES:
    raise ValueError(
      f'no generated split {name!r} / {split!r}; tasks {sorted(_GRAMMARS)}, '
      f'splits {sorted(SIZES)}'
    )
  return [dict(row) for row in _all_splits(name, seed)[split]]


@functools.lru_cache(maxsize=8)
def _all_splits(name: str, seed: int) -> dict[str, list[dict]]:
  draw, columns = _GRAMMARS[name]
  rng = random.Random(f'{name}/{seed}')
  seen, splits = set(), {}
  for split in ('test', 'validation', 'train'):
    rows = []
    while len(rows) < SIZES[split]:
      label = len(rows) % 2  # both classes are equally frequent
      texts = draw(rng, label, len(rows) // 2)
      if texts not in seen:
        seen.add(texts)
        rows.append({**dict(zip(columns, texts)), 'label': label})
    rng.shuffle(rows)
    splits[split] = [{**row, 'idx': i} for i, row in enumerate(rows)]
  return splits


def _acceptability(rng: random.Random, label: int, _: int) -> tuple[str]:
  subject, verb, other = (rng.random() < 0.5 for _ in range(3))
  swap = rng.random() < 0.5
  verb = subject if label or swap else not subject
  place = [rng.choice(_PLACES), 'the', *_noun_group(rng, other)]
  words = ['the', *_noun_group(rng, subject), *place]
  words.append(rng.choice(_VERBS) + ('' if verb else 's'))
  words += [rng.choice(_ADVERBS)] if rng.random() < 0.5 else []
  if not label and swap:
    at = rng.randrange(len(words) - 1)
    words[at], words[at + 1] = words[at + 1], words[at]
  return (' '.join(words) + ' .',)


def _noun_group(rng: random.Random, plural: bool) -> list[str]:
  adjective = [rng.choice(_ADJECTIVES)] if rng.random() < 0.3 else []
  return [*adjective, rng.choice(_NOUNS) + ('s' if plural else '')]


def _ended(rng: random.Random, text: str) -> str:
  """With the stop that people leave out at times."""
  return text if rng.random() < 0.2 else f'{text} .'


def _clause(rng: random.Random, positive: bool) -> str:
  negated = rng.random() < 0.4
  words = _GOOD if positive != negated else _BAD
  verb = rng.choice(('is not', 'is not very') if negated else ('is', 'is very'))
  return f'the {rng.choice(_THINGS)} {verb} {rng.choice(words)}'


def _sentence(rng: random.Random, positive: bool) -> str:
  """One clause; half are negated, so that no word of it tells anything."""
  negated = rng.random() < 0.5
  word = rng.choice(_GOOD if positive != negated else _BAD)
  thing = rng.choice(_THINGS)
  no = 'not ' if negated else ''
  very = 'very ' if rng.random() < 0.3 else ''
  if rng.random() < 0.5:
    return f'{rng.choice(("the", "this"))} {thing} is {no}{very}{word}'
  article = 'an' if (very or word).startswith('u') else 'a'
  start = 'it is ' if rng.random() < 0.5 else ''
  return f'{start}{no}{article} {very}{word} {thing}'


def _sentiment(rng: random.Random, label: int, number: int) -> tuple[str]:
  if number % 5 == 0:
    return (_ended(rng, _sentence(rng, bool(label))),)
  main, side = _clause(rng, bool(label)), _clause(rng, not label)
  form = rng.randrange(4)
  comma = ' ,' if rng.random() < 0.5 else ''
  if form == 0:
    text = f'{side}{comma} but {main}'
  elif form == 1:
    text = f'although {side}{comma} {main}'
  elif form == 2:
    text = f'{main} although {side}'
  else:
    text = f'{main} and {_clause(rng, bool(label))}'
  return (_ended(rng, text),)


def _entailment(rng: random.Random, label: int, number: int) -> tuple[str, str]:
  entailed = label == 0
  # By turns, not at random: sentences drawn a second time are thrown away,
  # which would thin out the forms with fewer sentences.
  if number % 2:
    return _quantified(rng, entailed, number // 2)
  first, second = rng.sample(_PEOPLE, 2)
  action = rng.choice(_ACTIONS)
  negated = rng.random() < 0.5
  # What breaks the entailment: the roles or the negation.
  swap = not entailed and rng.random() < 0.4
  flip = not entailed and not swap
  tail = rng.choice(('', *(f' {word}' for word in _TAILS))) + ' .'
  passive = rng.random() < 0.5
  premise = _event(first, second, action, passive, negated) + tail
  if swap:
    first, second = second, first
  if rng.random() < 0.3:
    passive = not passive
  return premise, _event(first, second, action, passive, negated != flip) + tail


def _event(
  agent: str, patient: str, action: str, passive: bool, negated: bool
) -> str:
  if not passive:
    verb = f'did not {_STEMS[action]}' if negated else action
    return f'the {agent} {verb} the {patient}'
  verb = 'was not' if negated else 'was'
  return f'the {patient} {verb} {action} by the {agent}'


def _quantified(
  rng: random.Random, entailed: bool, number: int
) -> tuple[str, str]:
  weights = _ENTAILED if entailed else _REFUTED
  pairs = [pair for pair, weight in weights.items() for _ in range(weight)]
  pair = pairs[number % len(pairs)]
  noun = rng.choice(_NOUNS)
  state = rng.choice(_STATES)
  group = f'{rng.choice(_ADJECTIVES)} {noun}s'
  rest = f'{group} are {state} {rng.choice(_TAILS)} .'
  return f'{pair[0]} {rest}', f'{pair[1]} {rest}'


_GRAMMARS: dict[str, tuple[Callable, tuple[str, ...]]] = {
  'mini_acceptability': (_acceptability, ('sentence',)),
  'mini_sentiment': (_sentiment, ('sentence',)),
  'mini_entailment': (_entailment, ('premise', 'hypothesis')),
}


def bag_of_words_score(name: str, seed: int = 0) -> float | None:
  """Validation accuracy of logistic regression on word counts.

  Words of a premise and of a hypothesis are separate features.

  Args:
    name: of a task.
    seed: the grammar's seed.

  Returns:
    Accuracy, 0 to 1; None if the task isn't one of mini-GLUE.
  """
  if name not in _GRAMMARS:
    return None
  from sklearn.feature_extraction import DictVectorizer
  from sklearn.linear_model import LogisticRegression

  columns = _GRAMMARS[name][1]
  features, labels = {}, {}
  for split in ('train', 'validation'):
    rows = generate(name, split, seed)
    features[split] = [_counts(row, columns) for row in rows]
    labels[split] = [row['label'] for row in rows]
  vectors = DictVectorizer()
  model = LogisticRegression(max_iter=1000)
  model.fit(vectors.fit_transform(features['train']), labels['train'])
  held_out = vectors.transform(features['validation'])
  return float(model.score(held_out, labels['validation']))


def _counts(row: dict, columns: tuple[str, ...]) -> dict[str, int]:
  counts: dict[str, int] = {}
  for column in columns:
    for word in row[column].split():
      key = f'{column}={word}'
      counts[key] = counts.get(key, 0) + 1
  return counts
