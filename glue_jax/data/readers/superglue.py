"""SuperGLUE's JSON lines, each task's layout to flat records.

Wang et al. 2019, arXiv 1905.00537. Every line gives one record or more with the
task's columns, `label` and `idx`. How a task's parts become one or two texts is
said at each function; where spans matter they are marked in the text, so that
any encoder can take the task. The rows of the Hub's files are read as well:
they are an answer or a query each, without objects inside.
"""

from collections.abc import Callable, Iterable, Iterator

from glue_jax.data.readers.files import Log, Record

_QUESTIONS = {
  'cause': 'What was the cause of this?',
  'effect': 'What happened as a result?',
}
# Separates a ReCoRD passage from its summary points, and those.
_HIGHLIGHT = '@highlight'
_PLACEHOLDER = '@placeholder'


def read(
  lines: Iterable[tuple[int, Record]], log: Log, style: str
) -> Iterator[tuple[int, Record]]:
  """Yields (line, record); a line may give several.

  Args:
    lines: (line, object) pairs of the file.
    log: where lines of another layout are reported.
    style: a key of LAYOUTS.
  """
  for number, line in lines:
    try:
      records = list(LAYOUTS[style](line))
    except KeyError as error:
      log.bad(number, f'keys {sorted(line)}: {error} is missing in {style}')
    except (TypeError, ValueError, IndexError, AttributeError) as error:
      log.bad(number, f'not in the layout {style}: {error}')
    else:
      yield from ((number, record) for record in records)


def _copa(line) -> Iterator[Record]:
  """Premise and question before each choice; the question in words."""
  question = line['question']
  if question not in _QUESTIONS:
    raise ValueError(f'question {question!r}, expected {list(_QUESTIONS)}')
  yield {**line, 'question': _QUESTIONS[question]}


def _multirc(line) -> Iterator[Record]:
  """A pair an answer: the paragraph; question and answer."""
  if 'paragraph' in line:
    yield {
      'paragraph': line['paragraph'],
      'question_answer': f'{line["question"]} {line["answer"]}',
      'label': line.get('label'),
      'idx': '-'.join(
        str(line['idx'][part]) for part in ('paragraph', 'question', 'answer')
      ),
    }
    return
  passage = line['passage']
  for question in passage['questions']:
    for answer in question['answers']:
      yield {
        'paragraph': passage['text'],
        'question_answer': f'{question["question"]} {answer["text"]}',
        'label': answer.get('label'),
        'idx': f'{line["idx"]}-{question["idx"]}-{answer["idx"]}',
      }


def _record(line) -> Iterator[Record]:
  """A pair an entity: the passage; the query with the entity put in.

  Every surface counts once; its label says whether it is among the answers.
  Without answers (test) there is no label.
  """
  if isinstance(line['passage'], str):
    idx = line['idx']
    yield from _candidates(
      line['passage'],
      line['query'],
      line['entities'],
      line.get('answers') or (),
      f'{idx["passage"]}-{idx["query"]}',
    )
    return
  text = line['passage']['text']
  entities = line['passage']['entities']
  # The end is inclusive.
  names = [text[e['start'] : e['end'] + 1] for e in entities]
  for query in line['qas']:
    answers = [a['text'] for a in query.get('answers', ())]
    key = f'{line["idx"]}-{query["idx"]}'
    yield from _candidates(text, query['query'], names, answers, key)


def _candidates(text, query, entities, answers, key) -> Iterator[Record]:
  """The pairs of one query."""
  passage = ' '.join(text.replace(_HIGHLIGHT, ' ').split())
  gold = list(dict.fromkeys(answers))
  if _PLACEHOLDER not in query:
    raise ValueError(f'query {key} has no {_PLACEHOLDER}')
  for i, name in enumerate(dict.fromkeys(entities)):
    yield {
      'passage': passage,
      'query': query.replace(_PLACEHOLDER, name),
      'label': int(name in gold) if gold else None,
      'idx': f'{key}-{i}',
      'candidate': name,
      'answers': gold,
    }


def _wic(line) -> Iterator[Record]:
  """The two sentences, the word in asterisks at its offsets."""
  record = dict(line)
  for i in ('1', '2'):
    text, start, end = line[f'sentence{i}'], line[f'start{i}'], line[f'end{i}']
    if not 0 <= start < end <= len(text):
      raise ValueError(
        f'word at {start}:{end} of a sentence of {len(text)} characters'
      )
    record[f'sentence{i}'] = f'{text[:start]}* {text[start:end]} *{text[end:]}'
  yield record


def _wsc(line) -> Iterator[Record]:
  """One text: * first span * and # second span #, by words."""
  target = line.get('target', line)
  words = line['text'].split()
  marked = list(words)
  for i, mark in (('1', '*'), ('2', '#')):
    start = target[f'span{i}_index']
    end = start + len(target[f'span{i}_text'].split())
    if not 0 <= start < end <= len(words):
      raise ValueError(
        f'span{i} is words {start}:{end} of a text of {len(words)}'
      )
    marked[start] = f'{mark} {marked[start]}'
    marked[end - 1] = f'{marked[end - 1]} {mark}'
  yield {**line, 'text': ' '.join(marked)}


def _axg(line) -> Iterator[Record]:
  """A minimal pair shares the first part of its rows' ids.

  Pairs are neighbours; the file's `pair_id` is another one in each row.
  """
  yield {**line, 'idx': f'{int(line["idx"]) // 2}-{line["idx"]}'}


LAYOUTS: dict[str, Callable[[Record], Iterator[Record]]] = {
  'copa': _copa,
  'multirc': _multirc,
  'record': _record,
  'wic': _wic,
  'wsc': _wsc,
  'axg': _axg,
}
