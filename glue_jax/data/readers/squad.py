"""Questions, contexts and answers: SQuAD's JSON, and rows of that kind.

Rajpurkar et al. 2016, arXiv 1606.05250; 2018, arXiv 1806.03822. A record has
id, title, question, context, is_impossible (None where the file doesn't say)
and answers {'text': [...], 'answer_start': [...]}, None where the file has
none; every answer is the text at its offset.
"""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from glue_jax.data.readers import json_text, values
from glue_jax.data.readers.files import Log, Record, read_bytes


def read_squad(path: pathlib.Path, log: Log) -> Iterator[tuple[int, Record]]:
  """Questions of a SQuAD JSON file; the number counts questions from 1.

  Args:
    path: the file.
    log: where a question is reported whose parts have another type, or whose
      answer is not at its offset, with its id.

  Raises:
    ValueError: the file is not in the SQuAD layout, or has no questions.
  """
  return questions(read_bytes(path), path, log)


def questions(
  data: bytes | str, path: pathlib.Path, log: Log
) -> Iterator[tuple[int, Record]]:
  """As `read_squad`, of the file's content."""
  try:
    articles = json_text.loads(data)['data']
    paragraphs = [
      (article.get('title', ''), part['context'], part['qas'])
      for article in articles
      for part in article['paragraphs']
    ]
    found = [(*rest, qa) for *rest, qas in paragraphs for qa in qas]
  except json_text.Twice as error:
    raise ValueError(f'{path}:{error.lineno}: {error.msg}') from None
  except (
    ValueError, KeyError, TypeError, AttributeError, RecursionError
  ) as error:  # fmt: skip
    raise ValueError(
      f'{path}:1: not in the SQuAD layout (version, data[title, paragraphs['
      f'context, qas[id, question, answers]]]): {error!r}'
    ) from error
  for number, (title, context, qa) in enumerate(found, 1):
    try:
      yield number, question(qa, title, context)
    except ValueError as error:
      log.bad(number, str(error))
  if not found:
    raise ValueError(f'{path}:1: no questions; expected at least one')


def question(qa: Any, title: Any, context: Any) -> Record:
  """The record of one question.

  Args:
    qa: object with id, question, and perhaps answers (a list of objects with
      text and answer_start, or an object with a list of each) and
      is_impossible.
    title, context: of its paragraph.

  Raises:
    ValueError: a part is missing, has another type, or an answer is not at
      its offset; with the question's id.
  """
  if not isinstance(qa, Mapping):
    raise ValueError(f'{values.shown(qa)} found, expected a question (object)')
  missing = {'id', 'question'} - set(qa)
  if missing:
    raise ValueError(f'the question lacks {sorted(missing)}')
  key = qa['id']
  number = isinstance(key, int) and not isinstance(key, bool)
  fault = values.text_fault(str(key) if number else key)
  if fault:
    raise ValueError(f'id {fault}')
  for name, text in (('question', qa['question']), ('context', context)):
    fault = values.text_fault(text)
    if fault:
      raise ValueError(f'question {key}: {name!r} {fault}')
  try:
    answers = _answers(qa.get('answers'), context)
    impossible = _impossible(qa.get('is_impossible'), answers)
  except ValueError as error:
    raise ValueError(f'question {key}: {error}') from None
  return {
    'id': str(key),
    'title': str(title or ''),
    'question': qa['question'],
    'context': context,
    'is_impossible': impossible,
    'answers': answers,
  }


def _answers(given: Any, context: str) -> dict[str, list] | None:
  if given is None:
    return None
  if isinstance(given, Mapping):
    pairs = _lists(given)
  elif isinstance(given, list):
    pairs = [_pair(answer) for answer in given]
  else:
    raise ValueError(f'answers is {values.shown(given)}; expected a list')
  for text, start in pairs:
    _at_its_offset(text, start, context)
  return {
    'text': [text for text, _ in pairs],
    'answer_start': [start for _, start in pairs],
  }


def _lists(given: Mapping) -> list[tuple]:
  """Pairs of {'text': [...], 'answer_start': [...]}."""
  texts, starts = given.get('text'), given.get('answer_start')
  if not (isinstance(texts, list) and isinstance(starts, list)):
    raise ValueError(
      f'answers has text {values.shown(texts)} and answer_start '
      f'{values.shown(starts)}; expected two lists'
    )
  if len(texts) != len(starts):
    raise ValueError(f'{len(texts)} answers have {len(starts)} answer_start')
  return list(zip(texts, starts))


def _pair(answer: Any) -> tuple:
  if not isinstance(answer, Mapping):
    raise ValueError(f'an answer is {values.shown(answer)}; expected an object')
  missing = {'text', 'answer_start'} - set(answer)
  if missing:
    raise ValueError(f'an answer lacks {sorted(missing)}')
  return answer['text'], answer['answer_start']


def _at_its_offset(text: Any, start: Any, context: str) -> None:
  fault = values.text_fault(text)
  if not fault and values.seen(text) == (0, 0):
    fault = f'is {text!a}, of which nothing can be seen; expected text'
  if fault:
    raise ValueError(f'the answer {fault}')
  if isinstance(start, bool) or not isinstance(start, int):
    raise ValueError(
      f'answer_start is {values.shown(start)}; expected a whole number'
    )
  there = context[start : start + len(text)] if start >= 0 else ''
  if there != text:
    raise ValueError(
      f'the context has {there!r} at {start}, expected the answer {text!r}'
    )


def _impossible(given: Any, answers: Any) -> bool | None:
  if given is not None and not isinstance(given, bool):
    raise ValueError(
      f'is_impossible is {values.shown(given)}; expected true or false'
    )
  has = bool(answers and answers['text'])
  if given and has:
    raise ValueError(
      'is_impossible, yet it has an answer; expected one of them'
    )
  if given is False and answers is not None and not has:
    raise ValueError('it has no answer, though is_impossible is false')
  return given


def seen(answers: Mapping[str, list]) -> dict[str, list]:
  """Answers without blanks and unseen characters at their edges.

  No token holds those, so an answer that began with one would be found in no
  window of its context.
  """
  spans = [values.seen(text) for text in answers['text']]
  return {
    'text': [t[low:high] for t, (low, high) in zip(answers['text'], spans)],
    'answer_start': [
      start + low for start, (low, _) in zip(answers['answer_start'], spans)
    ],
  }
