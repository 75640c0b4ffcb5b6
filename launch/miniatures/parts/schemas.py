"""Invented tasks in the twelve schemas of GLUE, SuperGLUE, SQuAD and HumSet.

Each is written in its benchmark's own layout, as its readers expect it, and has
a rule that a word by itself doesn't give away (but for `sst2` and HumSet's,
where words are the rule): what a question asks is looked up in its passage, two
texts agree or not. Tests of kinds, not of language.
"""

import itertools
import json
import pathlib
import random
from collections.abc import Callable, Iterator
from typing import Any

from glue_jax.data.tasks import by_name

_NAMES = ('ann', 'bob', 'cid', 'dan', 'eve', 'fay')
_CITIES = ('oslo', 'rome', 'lima', 'bonn')
_DRINKS = ('tea', 'milk', 'water', 'juice')
_JOBS = ('cook', 'nurse', 'baker', 'clerk')
_FILLERS = ('today', 'indeed', 'again', 'often', 'here', 'now')
# (fact, question, values) of a passage.
_FACTS = {
  'city': ('{} lives in {}', 'where does {} live', _CITIES),
  'drink': ('{} drinks {}', 'what does {} drink', _DRINKS),
  'job': ('{} works as {}', 'which job has {}', _JOBS),
}
_OPPOSITES = (('hot', 'cold'), ('old', 'new'))
_EFFECTS = {
  'it rained': 'the street was wet',
  'the glass fell': 'the glass broke',
  'the sun shone': 'the snow melted',
  'he ran far': 'he was tired',
  'she studied': 'she passed the test',
  'the dog barked': 'the cat fled',
}

Draw = random.Random


def _padded(rng: Draw, text: str) -> str:
  """A text with fillers, so that texts differ though their facts are few."""
  return ' '.join([text, *rng.choices(_FILLERS, k=3)])


def _sst2(rng: Draw) -> dict[str, Any]:
  good = rng.random() < 0.5
  words = rng.choices(_NAMES + _CITIES + _JOBS, k=6)
  polar = ('great', 'lovely', 'fine') if good else ('dull', 'weak', 'ugly')
  words.insert(rng.randrange(7), rng.choice(polar))
  return {'sentence': ' '.join(words), 'label': int(good)}


def _mnli(rng: Draw) -> dict[str, Any]:
  pair = list(rng.choice(_OPPOSITES))
  rng.shuffle(pair)
  other = rng.choice([p for p in _OPPOSITES if pair[0] not in p])
  label = rng.choice(('entailment', 'neutral', 'contradiction'))
  said = {'entailment': pair[0], 'contradiction': pair[1]}
  return {
    'premise': _padded(rng, f'the {rng.choice(_DRINKS)} is {pair[0]}'),
    'hypothesis': f'it is {said.get(label) or rng.choice(other)}',
    'label': label,
  }


def _stsb(rng: Draw) -> dict[str, Any]:
  levels = ('none', 'few', 'some', 'many', 'most', 'all')
  one, other = rng.randrange(6), rng.randrange(6)
  return {
    'sentence1': _padded(rng, f'{levels[one]} came'),
    'sentence2': _padded(rng, f'{levels[other]} came'),
    'score': 5.0 - abs(one - other),
  }


def _boolq(rng: Draw) -> dict[str, Any]:
  name, value = rng.choice(_NAMES), rng.choice(_DRINKS)
  same = rng.random() < 0.5
  asked = value if same else rng.choice([d for d in _DRINKS if d != value])
  return {
    'question': f'does {name} drink {asked}',
    'passage': _padded(rng, f'{name} drinks {value}'),
    'label': same,
  }


def _copa(rng: Draw) -> dict[str, Any]:
  cause = rng.choice(list(_EFFECTS))
  wrong = rng.choice([c for c in _EFFECTS if c != cause])
  question = rng.choice(('cause', 'effect'))
  if question == 'effect':
    premise, right, other = cause, _EFFECTS[cause], _EFFECTS[wrong]
  else:
    premise, right, other = _EFFECTS[cause], cause, wrong
  label = rng.randrange(2)
  choices = [right, other] if label == 0 else [other, right]
  return {
    'premise': _padded(rng, premise),
    'choice1': choices[0],
    'choice2': choices[1],
    'question': question,
    'label': label,
  }


def _multirc(rng: Draw) -> dict[str, Any]:
  name, drinks = rng.choice(_NAMES), rng.sample(_DRINKS, 3)
  text = f'{name} drinks {drinks[0]}'
  answers = [{'text': d, 'label': int(d == drinks[0])} for d in drinks]
  rng.shuffle(answers)
  question = {'question': f'what does {name} drink', 'answers': answers}
  return {'passage': {'text': _padded(rng, text), 'questions': [question]}}


def _record(rng: Draw) -> dict[str, Any]:
  winner, loser = rng.sample(_NAMES, 2)
  first = rng.random() < 0.5
  text = f'{winner} beat {loser}' if first else f'{loser} lost to {winner}'
  text = _padded(rng, text) + '\n@highlight\nthe match is over'
  entities = [
    {'start': text.index(name), 'end': text.index(name) + len(name) - 1}
    for name in sorted((winner, loser), key=text.index)
  ]
  start = text.index(winner)
  answer = {'start': start, 'end': start + len(winner) - 1, 'text': winner}
  query = {'query': '@placeholder won', 'answers': [answer]}
  return {'passage': {'text': text, 'entities': entities}, 'qas': [query]}


def _wic(rng: Draw) -> dict[str, Any]:
  senses = (('river', 'water', 'shore'), ('money', 'loan', 'cash'))
  one, other = rng.randrange(2), rng.randrange(2)
  line: dict[str, Any] = {'word': 'bank', 'label': one == other}
  for number, sense in (('1', one), ('2', other)):
    context = rng.choice(senses[sense])
    sentence = _padded(rng, f'the bank of {context}')
    start = sentence.index('bank')
    line |= {
      f'sentence{number}': sentence,
      f'start{number}': start,
      f'end{number}': start + len('bank'),
    }
  return line


def _wsc(rng: Draw) -> dict[str, Any]:
  names = rng.sample(_NAMES, 2)
  # Who told knows; who asked doesn't, so that the other one does.
  told = rng.random() < 0.5
  verb = 'told' if told else 'asked'
  place = rng.randrange(2)
  text = f'{names[0]} {verb} {names[1]} because {{}} knew'
  return {
    'text': _padded(rng, text.format('they')),
    'target': {
      'span1_index': 2 * place,
      'span1_text': names[place],
      'span2_index': 4,
      'span2_text': 'they',
    },
    'label': place == (0 if told else 1),
  }


def _question(rng: Draw, unanswerable: bool) -> dict[str, Any]:
  """A paragraph of SQuAD with one question."""
  name = rng.choice(_NAMES)
  facts = {key: rng.choice(values) for key, (_, _, values) in _FACTS.items()}
  asked = rng.choice(list(facts))
  none = unanswerable and rng.random() < 0.4
  told = [key for key in facts if not (none and key == asked)]
  rng.shuffle(told)
  context = ' . '.join(_FACTS[key][0].format(name, facts[key]) for key in told)
  context = _padded(rng, f'{context} .')
  answers = []
  if not none:
    answers = [
      {'text': facts[asked], 'answer_start': context.index(facts[asked])}
    ]
  qa = {'question': _FACTS[asked][1].format(name), 'answers': answers}
  if unanswerable:
    qa['is_impossible'] = none
  return {'context': context, 'qas': [qa]}


def _squad_v1(rng: Draw) -> dict[str, Any]:
  return _question(rng, False)


def _squad_v2(rng: Draw) -> dict[str, Any]:
  return _question(rng, True)


def _humset_sectors(rng: Draw) -> dict[str, Any]:
  labels = by_name.get('humset_sectors').labels
  sectors = [name for name in labels if rng.random() < 0.25]
  words = [name.lower().replace(' ', '') for name in sectors]
  words += rng.choices(_FILLERS, k=4)
  rng.shuffle(words)
  return {'excerpt': ' '.join(words), 'sectors': sectors}


# {task: rows of train, rows of validation}; a line of MultiRC or ReCoRD is
# several rows.
SIZES = {
  'sst2': (600, 200),
  'mnli': (2000, 200),
  'stsb': (2000, 200),
  'boolq': (2000, 200),
  'copa': (600, 200),
  'multirc': (700, 100),
  'record': (1000, 200),
  'wic': (2000, 200),
  'wsc': (2000, 200),
  'squad_v1': (1000, 200),
  'squad_v2': (1500, 200),
  'humset_sectors': (1000, 200),
}
_DRAWS: dict[str, Callable[[Draw], dict[str, Any]]] = {
  'sst2': _sst2,
  'mnli': _mnli,
  'stsb': _stsb,
  'boolq': _boolq,
  'copa': _copa,
  'multirc': _multirc,
  'record': _record,
  'wic': _wic,
  'wsc': _wsc,
  'squad_v1': _squad_v1,
  'squad_v2': _squad_v2,
  'humset_sectors': _humset_sectors,
}


def write(name: str, folder: pathlib.Path, seed: int = 0) -> None:
  """Writes the training and validation files of a task.

  No row is drawn twice, so no row of validation was trained on.

  Args:
    name: a key of SIZES.
    folder: data folder.
    seed: of the rows.
  """
  task, rng = by_name.get(name), Draw(f'{seed} {name}')
  rows = _distinct(_DRAWS[name], rng)
  for split, size in zip((task.train_split, *task.eval_splits), _sizes(name)):
    place = folder / task.folder
    place.mkdir(parents=True, exist_ok=True)
    lines = list(itertools.islice(rows, size))
    if len(lines) < size:
      raise RuntimeError(f'{name}: only {len(lines)} rows for {split}')
    if task.kind == 'span':
      _write_squad(place / f'{task.stems[split][0]}.json', lines)
    elif task.tsv:
      _write_tsv(place / f'{task.stems[split][0]}.tsv', name, lines)
    else:
      _write_lines(place / f'{split}.jsonl', lines)


def _sizes(name: str) -> tuple[int, ...]:
  train, validation = SIZES[name]
  return train, validation, validation  # MNLI has two


def _distinct(draw: Callable, rng: Draw) -> Iterator[dict[str, Any]]:
  """Rows that differ; ends where new ones are hardly found."""
  seen: set[str] = set()
  for _ in range(100_000):
    row = draw(rng)
    passage = row.get('passage')
    inside = isinstance(passage, dict)  # with questions, in any order
    key = passage['text'] if inside else json.dumps(row)
    if key not in seen:
      seen.add(key)
      yield row


def _write_lines(path: pathlib.Path, lines: list[dict]) -> None:
  """JSON lines, with the ids that each layout has."""
  asked, answers = itertools.count(), itertools.count()
  for number, line in enumerate(lines):
    line['idx'] = number
    for question in line.get('qas', ()):
      question['idx'] = next(asked)
    passage = line.get('passage')
    if isinstance(passage, dict):
      for question in passage.get('questions', ()):
        question['idx'] = next(asked)
        for answer in question['answers']:
          answer['idx'] = next(answers)
  path.write_text(''.join(json.dumps(line) + '\n' for line in lines))


def _write_squad(path: pathlib.Path, lines: list[dict]) -> None:
  for number, line in enumerate(lines):
    line['qas'][0]['id'] = f'{path.stem}-{number}'
  articles = [{'title': 'invented', 'paragraphs': lines}]
  path.write_text(json.dumps({'version': path.stem, 'data': articles}))


def _write_tsv(path: pathlib.Path, name: str, lines: list[dict]) -> None:
  """The header of the `glue_data` file, other columns left empty."""
  headers = {
    'sst2': ('sentence', 'label'),
    'mnli': ('index', 'sentence1', 'sentence2', 'gold_label'),
    'stsb': ('index', 'sentence1', 'sentence2', 'score'),
  }
  renamed = {'premise': 'sentence1', 'hypothesis': 'sentence2'}
  renamed |= {'label': 'gold_label'} if name == 'mnli' else {}
  table = ['\t'.join(headers[name])]
  for number, line in enumerate(lines):
    row = {renamed.get(key, key): value for key, value in line.items()}
    row['index'] = number
    table.append('\t'.join(str(row[column]) for column in headers[name]))
  path.write_text('\n'.join(table) + '\n')
