"""What is in a table, as text: examples, label balance, lengths.

What `python -m launch.data describe` prints.
"""

import numpy as np

from glue_jax.data import tokenizing
from glue_jax.data.table import Table
from glue_jax.data.tasks.task import Task


def of_task(task: Task) -> str:
  """Kind, columns, metrics and labels of a task."""
  lines = [
    f'{task.name}: {task.kind}, columns {", ".join(task.columns)}',
    f'  metrics {", ".join(task.metrics)} ({task.direction} is best)',
  ]
  if task.labels:
    named = ', '.join(f'{i} {name}' for i, name in enumerate(task.labels))
    lines.append(f'  labels {named}')
  return '\n'.join(lines)


def of_table(
  split: str,
  table: Table,
  tokenizer: tokenizing.Tokenizer | None = None,
  examples: int = 2,
) -> str:
  """Examples, label balance and a histogram of lengths.

  Args:
    split: its name.
    table: the split.
    tokenizer: counts tokens; None = words.
    examples: rows shown.
  """
  lines = [f'{split}: {len(table)} rows, {table.path}']
  for row in table.rows[:examples]:
    shown = {c: str(row[c])[:100] for c in (*table.task.columns, 'label')}
    lines.append(f'  {row["idx"]}: {shown}')
  lines.append(f'  labels: {balance(table)}')
  unit = 'tokens' if tokenizer else 'words'
  lines += [f'  {unit} in an example:', histogram(lengths(table, tokenizer))]
  return '\n'.join(lines)


def balance(table: Table) -> str:
  """How often each label occurs."""
  if table.task.kind == 'span':
    empty = sum(not row['answers']['text'] for row in table.rows)
    return f'{len(table) - empty} with an answer, {empty} without'
  if not table.labelled:
    return 'hidden'
  labels = table.labels()
  if table.task.kind == 'regression':
    return (
      f'{labels.min():.2f} to {labels.max():.2f}, mean {labels.mean():.2f}, '
      f'sd {labels.std():.2f}'
    )
  if table.task.kind == 'multilabel':
    names, counts = table.task.labels, labels.sum(axis=0)
    return ', '.join(
      f'{name} {count} ({count / len(labels):.1%})'
      for name, count in zip(names, counts)
    )
  if table.task.kind == 'token_classification':
    labels = np.concatenate(labels)
  names = table.task.labels or table.task.choices
  counts = np.bincount(np.asarray(labels, int), minlength=len(names))
  return ', '.join(
    f'{name} {count} ({count / len(labels):.1%})'
    for name, count in zip(names, counts)
  )


def lengths(table: Table, tokenizer: tokenizing.Tokenizer | None) -> np.ndarray:
  """Words, or tokens with special tokens, of each row."""
  columns = table.task.columns
  rows = [[_text(row[column]) for column in columns] for row in table.rows]
  if tokenizer is None:
    return np.array([sum(len(text.split()) for text in row) for row in rows])
  first = [row[0] for row in rows]
  second = [' '.join(row[1:]) for row in rows] if len(rows[0]) > 1 else None
  return tokenizer.encode(first, second, max_length=1 << 30).lengths


def _text(value: str | list[str]) -> str:
  return ' '.join(value) if isinstance(value, list) else value


def histogram(values: np.ndarray, width: int = 40) -> str:
  """Counts in ranges that double, as bars of text."""
  edges = [0, *(1 << k for k in range(3, int(values.max()).bit_length() + 1))]
  edges = edges if edges[-1] > values.max() else [*edges, 2 * edges[-1] or 8]
  counts, _ = np.histogram(values, edges)
  lines = [
    f'  {low:6d} to {high - 1:<6d} {count:7d} '
    f'{"#" * round(width * count / counts.max())}'
    for low, high, count in zip(edges, edges[1:], counts)
  ]
  middle = f'median {np.median(values):.0f}, 95% below '
  end = f'{np.percentile(values, 95):.0f}, longest {values.max()}'
  return '\n'.join([*lines, f'  {middle}{end}'])
