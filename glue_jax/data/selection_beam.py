"""Data selection on Apache Beam: one pipeline for any runner.

The elements are pieces of the corpus. Texts are read three times: scan (bucket
counts, combined to the model), weigh (an array of log weights for each piece)
and write. In between the cut is found by `selection.Cut`: four rounds of
histograms, combined over the pieces. So neither texts nor k keys are ever
gathered on one worker, as `combiners.Top.Of(k)` would do with the keys.

A piece's results depend on nothing but (texts, settings, seed), and its files
get their names when they are whole: retried and repeated bundles do no harm.
"""

import contextlib
import copy
import dataclasses
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from glue_jax.data import selection, selection_pieces, selection_run
from glue_jax.data import selection_io as files

# Beam's default runner would look for a program to download.
LOCAL = '--runner=FnApiRunner'
_PIECE_BYTES = 64 << 20
_MOST_LOCAL = 16


def _beam():
  """Apache Beam.

  Raises:
    ImportError: it isn't installed.
  """
  try:
    import apache_beam
  except ImportError as error:
    raise ImportError(
      f"Apache Beam is missing ({error}); pip install 'glue_jax[beam]'"
    ) from error
  return apache_beam


def _filesystems():
  _beam()
  from apache_beam.io import filesystem, filesystems

  return filesystems.FileSystems, filesystem.CompressionTypes.UNCOMPRESSED


def open_file(path: str) -> Any:
  """Opens a file of any of Beam's file systems for reading bytes."""
  systems, plain = _filesystems()
  return systems.open(path, compression_type=plain)


def find(patterns: Sequence[str]) -> list[files.Source]:
  """Files of a corpus on any of Beam's file systems; see `selection_io.find`.

  A folder stands for the files in it with the usual endings.

  Raises:
    FileNotFoundError: nothing is there.
    ValueError: a file is given twice.
  """
  systems, _ = _filesystems()
  found = []
  for pattern in patterns:
    tried = [pattern, *(f'{pattern.rstrip("/")}/**{s}' for s in files.SUFFIXES)]
    for glob in tried:
      if matched := _matches(systems, glob):
        break
    if len(tried) > 1 and glob != pattern:
      matched = [m for g in tried[1:] for m in _matches(systems, g)]
    if not matched:
      raise FileNotFoundError(f'{pattern}: no file; tried {", ".join(tried)}')
    found += sorted(set(matched))
  paths = [source.path for source in found]
  twice = sorted({p for p in paths if paths.count(p) > 1})
  if twice:
    raise ValueError(f'{twice[0]} is given twice; name each file once')
  return found


def _matches(systems, glob: str) -> list[files.Source]:
  metadata = systems.match([glob])[0].metadata_list
  return [
    files.Source(m.path, m.size_in_bytes, m.last_updated_in_seconds)
    for m in metadata
    if not m.path.endswith('/')
  ]


def _describe(path: str) -> files.Source:
  return _matches(_filesystems()[0], path)[0]


def run(
  run: selection_run.Run, out: str, flags: Sequence[str] = (), shards: int = 0
) -> dict[str, Any]:
  """Selects documents on a Beam runner.

  Args:
    run: what is selected from what.
    out: folder for `selected-*.<form>`, `documents-*.tsv`, report.json.
    flags: Beam's own; without --runner it is the local one in Python.
    shards: about how many pieces the raw corpus is cut into; 0: by its size.

  Returns:
    The report, see `selection_run.report`.

  Raises:
    ImportError: Beam isn't installed.
    ValueError: bad input, as in `selection_local.run`.
  """
  beam = _beam()
  from apache_beam.options.pipeline_options import PipelineOptions

  flags = list(flags)
  if not any(flag.startswith('--runner') for flag in flags):
    flags.append(LOCAL)
  size = sum(source.size for source in run.raw)
  shards = shards or max(_MOST_LOCAL, -(-size // _PIECE_BYTES))
  systems, _ = _filesystems()
  if not systems.exists(out):
    systems.mkdirs(out)
  pipeline = beam.Pipeline(options=PipelineOptions(flags))
  build(pipeline, run, out, shards)
  try:
    pipeline.run().wait_until_finish()
  except Exception as error:
    # Runners wrap what a worker raised into a text of their own.
    found = re.findall(r'^ValueError: (.*)$', str(error), re.MULTILINE)
    if not found:
      raise
    message = re.sub(r' \[while running.*', '', found[-1])
    raise ValueError(message) from error
  with open_file(systems.join(out, 'report.json')) as file:
    return json.loads(file.read())


def build(pipeline: Any, run: selection_run.Run, out: str, shards: int) -> None:
  """Adds the selection to a pipeline."""
  beam = _beam()
  one, many = beam.pvalue.AsSingleton, beam.pvalue.AsList
  pieces = files.cut(run.raw, shards)
  start = pipeline | 'start' >> beam.Create([None])
  raw = pipeline | 'raw' >> beam.Create(pieces) | beam.Reshuffle()
  totals = raw | 'scan' >> beam.Map(_total, run.settings)
  slim = totals | 'without counts' >> beam.Map(_slim)
  plan = start | 'plan' >> beam.Map(_plan, pieces, many(slim))
  counts = (
    totals
    | 'fitted' >> beam.Map(_fitted, run, one(plan))
    | 'sum raw' >> beam.CombineGlobally(_sum)
  )
  targets = (
    pipeline
    | 'targets' >> beam.Create(_target_pieces(run, shards))
    | 'spread targets' >> beam.Reshuffle()
    | 'scan targets' >> beam.Map(_target_counts, run.target_settings)
    | 'sum targets' >> beam.CombinePerKey(_sum)
  )
  model = start | 'fit' >> beam.Map(
    _fit, run, one(plan), one(counts), beam.pvalue.AsDict(targets)
  )
  if run.settings.documents.id_key:
    named = raw | 'names' >> beam.FlatMap(_names, run.settings, one(plan))
    _ = named | beam.GroupByKey() | 'unique' >> beam.Map(_unique)
  weighed = (
    raw
    | 'weigh' >> beam.Map(_weigh, run.settings, one(plan), one(model))
    | 'keep weights' >> beam.Reshuffle()
  )
  names = selection_run.set_names(run)
  sets = {n: _draw(beam, start, weighed, model, run, n) for n in names}
  vectors = (
    weighed
    | 'write'
    >> beam.Map(
      _write,
      run,
      out,
      len(pieces),
      one(model),
      **{n: one(decided) for n, decided in sets.items()},
    )
    | 'sum figures' >> beam.CombineGlobally(_sum_dicts)
  )
  _ = start | 'report' >> beam.Map(
    _report, run, out, one(plan), one(model), one(vectors)
  )


def _target_pieces(run, shards: int) -> list[tuple[int, files.Piece]]:
  return [
    (target, piece)
    for target, corpus in enumerate(run.targets)
    for piece in files.cut(corpus, shards)
  ]


def _total(piece: files.Piece, settings):
  return piece, selection_pieces.total(piece, settings, open_file)


def _slim(item):
  # Side inputs go to every worker; counts of all pieces would be large.
  return dataclasses.replace(item[1], counts=np.zeros(0, np.int64))


def _plan(_, pieces, totals) -> selection_run.Plan:
  return selection_run.Plan(pieces, sorted(totals, key=lambda t: t.piece))


def _fitted(item, run, plan) -> np.ndarray:
  piece, totals = item
  return selection_pieces.fitted_counts(
    piece,
    run.settings,
    totals,
    plan.grams_before()[piece.index],
    run.fit_limit,
    open_file,
  )


def _target_counts(item, settings) -> tuple[int, np.ndarray]:
  target, piece = item
  return target, selection_pieces.total(piece, settings, open_file).counts


def _sum(vectors: Iterable[np.ndarray]) -> np.ndarray:
  return sum(vectors, np.int64(0))


def _sum_dicts(dicts: Iterable[dict]) -> dict[str, np.ndarray]:
  sums: dict[str, np.ndarray] = {}
  for one in dicts:
    for name, vector in one.items():
      sums[name] = sums.get(name, 0) + vector
  return sums


def _fit(_, run, plan, counts, targets) -> selection_run.Model:
  ordered = [targets[i] for i in range(len(run.targets))]
  model = selection_run.fit(run, counts, np.stack(ordered))
  selection_run.check(run, plan)
  return model


def _names(piece, settings, plan) -> Iterator[tuple[str, tuple[str, int]]]:
  line = plan.places[piece.index].line
  documents = settings.documents
  for name, nth in selection_pieces.names_of(piece, documents, open_file):
    yield name, (piece.path, line + nth - 1)


def _unique(item) -> None:
  name, places = item[0], list(item[1])
  if len(places) > 1:
    raise ValueError(selection_pieces.duplicate(name, places))


def _weigh(piece, settings, plan, model):
  """A piece with its weights; `taken` is 0 where a document isn't valid."""
  found = selection_pieces.scan(piece, settings, open_file)
  weights, valid, checks = [], [], []
  for part in found:
    weights.append(selection.log_weights(part.ids, part.sizes, model.log_diff))
    valid.append(part.valid)
    checks.append(np.array(part.batch.checks, np.uint32))
  if not weights:  # a piece inside one long line
    weights = [np.zeros((0, len(model.log_diff)))]
    valid, checks = [np.zeros(0, bool)], [np.zeros(0, np.uint32)]
  place = plan.places[piece.index]
  return selection_pieces.Chosen(
    piece,
    place.first,
    place.line,
    np.concatenate(valid),
    np.concatenate(weights),
    np.concatenate(checks),
  )


def _draw(beam, start, weighed, model, run, name: str):
  """The decisions about a set: for each target its cut and the ties."""
  one = beam.pvalue.AsSingleton
  decided = start | f'{name} begins' >> beam.Map(_nothing)
  for target in range(len(run.targets)):
    label = f'{name} {target}'
    cut = model | f'{label} cut' >> beam.Map(_cut, run, name, target)
    known = run, name, one(model), one(decided)
    for digit in range(selection.DIGITS):
      histogram = (
        weighed
        | f'{label} histogram {digit}' >> beam.Map(_histogram, *known, one(cut))
        | f'{label} sum {digit}' >> beam.CombineGlobally(_sum)
      )
      cut = cut | f'{label} narrow {digit}' >> beam.Map(_narrow, one(histogram))
    ties = (
      weighed
      | f'{label} ties' >> beam.Map(_ties, *known, one(cut))
      | f'{label} all ties' >> beam.CombineGlobally(_join)
    )
    decided = decided | f'{label} decided' >> beam.Map(
      _decide, one(cut), one(ties)
    )
  return decided


def _nothing(_) -> tuple:
  return ()


def _cut(model, run, name, target) -> selection.Cut:
  return selection.Cut(selection_run.draws(run, model)[name].counts[target])


def _narrow(cut, histogram) -> selection.Cut:
  cut = copy.copy(cut)  # Beam's elements must not change
  cut.narrow(histogram)
  return cut


def _histogram(chosen, run, name, model, decided, cut) -> np.ndarray:
  return cut.histogram(_keys(chosen, run, name, model, decided)[0])


def _ties(chosen, run, name, model, decided, cut) -> np.ndarray:
  keys, _ = _keys(chosen, run, name, model, decided)
  return chosen.first + np.flatnonzero(cut.split(keys)[1])


def _join(arrays: Iterable[np.ndarray]) -> np.ndarray:
  return np.concatenate([np.zeros(0, np.int64), *arrays])


def _decide(decided, cut, ties) -> tuple:
  return *decided, (cut, np.sort(ties)[: cut.ties])


def _keys(chosen, run, name, model, decided) -> tuple[np.ndarray, np.ndarray]:
  """Keys for the next target, and what the targets before it took."""
  draw = selection_run.draws(run, model)[name]
  taken = np.zeros(len(chosen.taken), np.int16)

  def keys(target):
    return selection.noisy_keys(
      chosen.first,
      chosen.weights[:, target] * draw.weighted,
      chosen.taken & (taken == 0),
      target,
      draw.noise,
    )

  for target, (cut, ties) in enumerate(decided):
    above, _ = cut.split(keys(target))
    taken[above] = target + 1
    own = ties - chosen.first
    taken[own[(own >= 0) & (own < len(taken))]] = target + 1
  last = len(decided) == len(run.targets)
  return (np.zeros(0) if last else keys(len(decided))), taken


def _write(chosen, run, out, pieces, model, **sets) -> dict[str, np.ndarray]:
  """Writes a piece's selected documents; returns its figure vectors."""
  taken = {
    name: _keys(chosen, run, name, model, decided)[1]
    for name, decided in sets.items()
  }
  selected = dataclasses.replace(chosen, taken=taken['selected'])
  names = selection_pieces.part_names(chosen.piece.index, pieces, run.form)
  systems, _ = _filesystems()
  paths = [systems.join(out, name) for name in names]
  with _whole(paths[0]) as texts, _whole(paths[1]) as table:
    selection_pieces.write(
      selected, run.settings.documents, run.form, texts, table, open_file
    )
  return _figures(chosen, run, taken) if run.report else {}


def _figures(chosen, run, taken) -> dict[str, np.ndarray]:
  best = chosen.weights.max(1, initial=-np.inf)
  sums: dict[str, np.ndarray] = {}
  at, hasher = 0, run.settings.hasher()
  documents = run.settings.documents
  for batch in files.batches(chosen.piece, documents, open_file):
    block = slice(at, at + len(batch.texts))
    at = block.stop
    members = {name: marks[block] > 0 for name, marks in taken.items()}
    wanted = np.logical_or.reduce(list(members.values()))
    if not wanted.any():
      continue
    found = hasher(batch.texts[i] for i in np.flatnonzero(wanted))
    vectors = {
      name: selection_pieces.figure_vector(
        found, best[block][wanted], mask[wanted], run.settings
      )
      for name, mask in members.items()
    }
    sums = _sum_dicts([sums, vectors])
  return sums


@contextlib.contextmanager
def _whole(path: str):
  """A file to write that gets its name when it is whole."""
  systems, plain = _filesystems()
  part = f'{path}.{uuid.uuid4().hex}.part'
  with systems.create(part, compression_type=plain) as file:
    yield file
  systems.rename([part], [path])


def _report(_, run, out, plan, model, vectors) -> None:
  selection_run.check_unchanged(run, _describe, open_file)
  found = selection_run.report(run, plan, model, vectors)
  systems, _ = _filesystems()
  with _whole(systems.join(out, 'report.json')) as file:
    file.write(json.dumps(found, indent=2).encode() + b'\n')
