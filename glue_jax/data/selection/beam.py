"""Data selection on Apache Beam: one pipeline for any runner.

The elements are pieces of the corpus. Texts are read three times: scan (bucket
counts, combined to the model), weigh (an array of log weights for each piece)
and write. In between the cut is found by `dsir.Cut`: four rounds of
histograms, combined over the pieces. So neither texts nor k keys are ever
gathered on one worker, as Beam's own combiner of the k largest would do with
the keys.

A piece's results depend on nothing but (texts, settings, seed), and its files
get their names when they are whole: retried and repeated bundles do no harm.
"""

import copy
import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from glue_jax.data.selection import beam_files as storage
from glue_jax.data.selection import corpus_files, dsir
from glue_jax.data.selection import pieces as selection_pieces
from glue_jax.data.selection import run as selection_run

# Beam's default runner would look for a program to download.
LOCAL = '--runner=FnApiRunner'
_PIECE_BYTES = 64 << 20
_LEAST_PIECES = 16
_RETRIES = 3
_LOST_WORKER = 'Channel closed prematurely'


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
    ValueError: bad input, as in `local.run`.
  """
  beam = storage.import_beam()
  from apache_beam.options.pipeline_options import PipelineOptions

  flags = list(flags)
  if not any(flag.startswith('--runner') for flag in flags):
    flags.append(LOCAL)
  size = sum(source.size for source in run.raw)
  shards = shards or max(_LEAST_PIECES, -(-size // _PIECE_BYTES))
  systems, _ = storage.filesystems()
  if not systems.exists(out):
    systems.mkdirs(out)
  for left in reversed(range(_RETRIES + 1)):
    pipeline = beam.Pipeline(options=PipelineOptions(flags))
    build(pipeline, run, out, shards)
    try:
      pipeline.run().wait_until_finish()
      break
    except Exception as error:
      # Runners wrap what a worker raised into a text of their own.
      messages = re.findall(r'^ValueError: (.*)$', str(error), re.MULTILINE)
      if messages:
        message = re.sub(r' \[while running.*', '', messages[-1])
        raise ValueError(message) from error
      # Clusters replace a dead worker; the local runner gives up.
      if not left or _LOST_WORKER not in str(error):
        raise
  with storage.open_file(systems.join(out, 'report.json')) as file:
    return json.loads(file.read())


def build(pipeline: Any, run: selection_run.Run, out: str, shards: int) -> None:
  """Adds the selection to a pipeline."""
  beam = storage.import_beam()
  one, many = beam.pvalue.AsSingleton, beam.pvalue.AsList
  pieces = corpus_files.cut(run.raw, shards)
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
  decided = _draw(beam, start, weighed, model, run)
  vectors = (
    weighed
    | 'write'
    >> beam.Map(_write, run, out, len(pieces), one(model), one(decided))
    | 'sum figures' >> beam.CombineGlobally(_sum_dicts)
  )
  _ = start | 'report' >> beam.Map(
    _report, run, out, one(plan), one(model), one(vectors)
  )


def _target_pieces(run, shards: int) -> list[tuple[int, corpus_files.Piece]]:
  return [
    (target, piece)
    for target, corpus in enumerate(run.targets)
    for piece in corpus_files.cut(corpus, shards)
  ]


def _total(piece: corpus_files.Piece, settings):
  return piece, selection_pieces.total(piece, settings, storage.open_file)


def _slim(item):
  # Side inputs go to every worker.
  return selection_pieces.without_counts(item[1])


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
    storage.open_file,
  )


def _target_counts(item, settings) -> tuple[int, np.ndarray]:
  target, piece = item
  return target, selection_pieces.total(
    piece, settings, storage.open_file
  ).counts


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
  for name, nth in selection_pieces.names_of(
    piece, documents, storage.open_file
  ):
    yield name, (piece.path, line + nth - 1)


def _unique(item) -> None:
  name, places = item[0], list(item[1])
  if len(places) > 1:
    raise ValueError(selection_pieces.duplicate(name, places))


def _weigh(piece, settings, plan, model):
  """A piece with its weights; `taken` is 0 where a document isn't valid."""
  scans = selection_pieces.scan(piece, settings, storage.open_file)
  weights, valid, checks = [], [], []
  for part in scans:
    weights.append(dsir.log_weights(part.ids, part.sizes, model.log_diff))
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


def _draw(beam, start, weighed, model, run):
  """The decisions: for each target and set the cut and the ties taken.

  What is a side input anywhere is never the main input of another step: of such
  a collection Beam's local runner (2.77) may pass on nothing.
  """
  one = beam.pvalue.AsSingleton
  decided = start | 'nothing decided' >> beam.Map(_nothing)
  for target in range(len(run.targets)):
    cuts = start | f'cuts {target}' >> beam.Map(_cuts, one(model), run, target)
    known = run, one(model), one(decided)
    for digit in range(dsir.DIGITS):
      label = f'{target} digit {digit}'
      histograms = (
        weighed
        | f'histogram {label}' >> beam.Map(_histograms, *known, one(cuts))
        | f'sum {label}' >> beam.CombineGlobally(_sum_dicts)
      )
      cuts = start | f'narrow {label}' >> beam.Map(
        _narrow, one(cuts), one(histograms)
      )
    ties = (
      weighed
      | f'ties {target}' >> beam.Map(_ties, *known, one(cuts))
      | f'all ties {target}' >> beam.CombineGlobally(_join)
    )
    decided = start | f'decided {target}' >> beam.Map(
      _decide, one(decided), one(cuts), one(ties)
    )
  return decided


def _nothing(_) -> tuple:
  return ()


def _cuts(_, model, run, target) -> dict[str, dsir.Cut]:
  draws = selection_run.draws(run, model)
  return {n: dsir.Cut(draw.counts[target]) for n, draw in draws.items()}


def _narrow(_, cuts, histograms) -> dict[str, dsir.Cut]:
  cuts = copy.deepcopy(cuts)  # Beam's elements must not change
  for name, cut in cuts.items():
    cut.narrow(histograms[name])
  return cuts


def _histograms(chosen, run, model, decided, cuts) -> dict[str, np.ndarray]:
  keys, _ = _keys(chosen, run, model, decided)
  return {name: cut.histogram(keys[name]) for name, cut in cuts.items()}


def _ties(chosen, run, model, decided, cuts) -> dict[str, np.ndarray]:
  keys, _ = _keys(chosen, run, model, decided)
  return {
    name: chosen.first + np.flatnonzero(cut.split(keys[name])[1])
    for name, cut in cuts.items()
  }


def _join(parts: Iterable[dict]) -> dict[str, np.ndarray]:
  lists: dict[str, list] = {}
  for part in parts:
    for name, ids in part.items():
      lists.setdefault(name, []).append(ids)
  return {name: np.concatenate(ids) for name, ids in lists.items()}


def _decide(_, decided, cuts, ties) -> tuple:
  """Of equal keys the lowest ids are taken."""
  first = {n: np.sort(ties[n])[: cut.ties] for n, cut in cuts.items()}
  return *decided, {name: (cut, first[name]) for name, cut in cuts.items()}


def _keys(chosen, run, model, decided) -> tuple[dict, dict]:
  """For each set: keys for the next target, what earlier targets took."""
  keys, taken = {}, {}
  for name, draw in selection_run.draws(run, model).items():
    marks = np.zeros(len(chosen.taken), np.int16)
    for target in range(len(run.targets)):
      keys[name] = dsir.noisy_keys(
        chosen.first,
        chosen.weights[:, target] * draw.weighted,
        chosen.taken & (marks == 0),
        target,
        draw.noise,
      )
      if target == len(decided):
        break
      cut, ties = decided[target][name]
      own = ties - chosen.first
      marks[cut.split(keys[name])[0]] = target + 1
      marks[own[(own >= 0) & (own < len(marks))]] = target + 1
    taken[name] = marks
  return keys, taken


def _write(chosen, run, out, pieces, model, decided) -> dict[str, np.ndarray]:
  """Writes a piece's selected documents; returns its figure vectors."""
  _, taken = _keys(chosen, run, model, decided)
  selected = dataclasses.replace(chosen, taken=taken['selected'])
  names = selection_pieces.part_names(chosen.piece.index, pieces, run.form)
  systems, _ = storage.filesystems()
  paths = [systems.join(out, name) for name in names]
  with storage.whole(paths[0]) as texts, storage.whole(paths[1]) as table:
    selection_pieces.write(
      selected,
      run.settings.documents,
      run.form,
      texts,
      table,
      storage.open_file,
    )
  return _figures(chosen, run, taken) if run.report else {}


def _figures(chosen, run, taken) -> dict[str, np.ndarray]:
  best = chosen.weights.max(1, initial=-np.inf)
  sums: dict[str, np.ndarray] = {}
  at, hasher = 0, run.settings.hasher()
  documents = run.settings.documents
  for batch in corpus_files.batches(chosen.piece, documents, storage.open_file):
    block = slice(at, at + len(batch.texts))
    at = block.stop
    members = {name: marks[block] > 0 for name, marks in taken.items()}
    wanted = np.logical_or.reduce(list(members.values()))
    if not wanted.any():
      continue
    features = hasher(batch.texts[i] for i in np.flatnonzero(wanted))
    vectors = {
      name: selection_pieces.figure_vector(
        features, best[block][wanted], mask[wanted], run.settings
      )
      for name, mask in members.items()
    }
    sums = _sum_dicts([sums, vectors])
  return sums


def _report(_, run, out, plan, model, vectors) -> None:
  selection_run.check_unchanged(run, storage.describe, storage.open_file)
  report = selection_run.report(run, plan, model, vectors)
  systems, _ = storage.filesystems()
  with storage.whole(systems.join(out, 'report.json')) as file:
    file.write(json.dumps(report, indent=2).encode() + b'\n')
