"""Bytes that a compiled program sends between devices, by collective."""

import collections
import math
import re

_KINDS = (
  'all-reduce',
  'all-gather',
  'reduce-scatter',
  'all-to-all',
  'collective-permute',
)
_BITS = {'pred': 8, 'bf16': 16}  # of types whose name doesn't end in its bits
_COMPUTATION = re.compile(r'^(ENTRY )?%?([\w.-]+) \(.*\{$')
_COLLECTIVE = re.compile(rf'= (.*?) ({"|".join(_KINDS)})(?:-done)?\(')
_SHAPE = re.compile(r'([a-z]+\d*)\w*\[([\d,]*)\]')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_CALLED = re.compile(r'(?:body|condition|calls|to_apply)=%?([\w.-]+)')
_BRANCHES = re.compile(r'branch_computations=\{([^}]*)\}')


def sent(text: str) -> dict[str, int]:
  """Returns the bytes of each kind of collective in one run of a program.

  Counted are the arrays that a device ends up with: of `all-gather` the whole,
  of `reduce-scatter` its part. What a loop sends counts as often as the loop
  runs, where the compiler knows how often that is, else once.

  Args:
    text: the compiled program, `jax.stages.Compiled.as_text()`.

  Raises:
    ValueError: the text has no entry.
  """
  lines: dict[str, list[str]] = {}
  entry = current = None
  for line in text.splitlines():
    start = _COMPUTATION.match(line)
    if start:
      current = start.group(2)
      lines[current] = []
      entry = current if start.group(1) else entry
    elif current is not None:
      lines[current].append(line)
  if entry is None:
    raise ValueError('no program of XLA: its text has no line with ENTRY')

  totals: collections.Counter[str] = collections.Counter()

  def visit(name: str, times: int) -> None:
    for line in lines.get(name, ()):
      found = _COLLECTIVE.search(line)
      if found:
        totals[found.group(2)] += times * _bytes(found.group(1))
      trips = _TRIPS.search(line)
      again = times * (int(trips.group(1)) if trips else 1)
      for called in _called(line):
        visit(called, again)

  visit(entry, 1)
  return {kind: totals[kind] for kind in _KINDS if totals[kind]}


def _called(line: str) -> list[str]:
  branches = _BRANCHES.search(line)
  several = branches.group(1).split(',') if branches else []
  return _CALLED.findall(line) + [b.strip().lstrip('%') for b in several]


def _bytes(shapes: str) -> int:
  total = 0
  for kind, sizes in _SHAPE.findall(shapes):
    digits = re.search(r'\d+', kind)
    bits = _BITS.get(kind) or (int(digits.group()) if digits else 0)
    total += bits * math.prod(int(n) for n in sizes.split(',') if n) // 8
  return total
