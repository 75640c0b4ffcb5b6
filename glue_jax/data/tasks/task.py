"""The record that describes a task, and how it reads labels."""

import ast
import dataclasses
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence

from glue_jax.config.ranges import OpenShare, Whole

KINDS = (
  'classification',
  'multilabel',
  'regression',
  'span',
  'token_classification',
  'multiple_choice',
  'generation',
  'language_modeling',
  'sentence_structure',
  'next_sentence',
  'sentence_order',
  'sentences',
)
# Kinds of pairs that are cut from running text, see data/sentence_pairs.py.
PAIR_KINDS = ('sentence_structure', 'next_sentence', 'sentence_order')
# Kinds that learn from running text instead of rows.
CORPUS_KINDS = ('language_modeling', *PAIR_KINDS, 'sentences')

# File names without extension of the usual splits.
STEMS = {
  'train': ('train',),
  'validation': ('dev', 'validation', 'val', 'valid'),
  'test': ('test',),
}


@dataclasses.dataclass(frozen=True)
class Tsv:
  """Columns of a task's tab-separated files.

  Attributes:
    columns: header name of each text column, in the order of `Task.columns`.
    label: header name of the label.
    idx: header name of the row's id, '' where the row number is the id.
    headerless: column names of files without a header line.
  """

  columns: tuple[str, ...]
  label: str = 'label'
  idx: str = ''
  headerless: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Cut:
  """A split that is drawn from another one at random, without replacement.

  Attributes:
    source: the split whose rows are drawn.
    fraction: share of them, above 0 and below 1.
    seed: of the draw.
    folds: instead of a fraction, that all rows of the source are dealt into as
      many folds (data/folds.py); 0 = the fraction is drawn.
    fold: which of them the split is, from 0.
  """

  source: str = 'train'
  fraction: OpenShare = 0.1
  seed: Whole = 441
  folds: Whole = 0
  fold: Whole = 0


@dataclasses.dataclass(frozen=True)
class Hub:
  """Where the Hugging Face Hub has a task's rows as Parquet files.

  The columns there are the task's, and its classes are joined by name.

  Attributes:
    repository: OWNER/NAME of a data set.
    config: the folder of the task in it.
    revision: branch, tag or commit; '' = the newest of `main`.
  """

  repository: str
  config: str
  revision: str = ''


@dataclasses.dataclass(frozen=True)
class Prompt:
  """How a row is put to a model that writes, see data/prompts.py.

  Attributes:
    template: text with the task's columns in braces: 'Review: {sentence}'.
    words: what is written for each class, in id order; none for texts.
    closing: ends the answer; what is written after it isn't read.
  """

  template: str
  words: tuple[str, ...] = ()
  closing: str = ''


@dataclasses.dataclass(frozen=True)
class Task:
  """What a task is; nothing about how it is learnt.

  Attributes:
    name: key of the record.
    kind: one of KINDS.
    columns: text columns.
    labels: class names in id order.
    metrics: names known to glue_jax.metrics.scores, the first one selects
    models. direction: 'max' or 'min', for the first metric.
    splits: row count of each official split, None where unknown.
    train_split, eval_splits, test_splits: which splits are for what; only
      rows of test splits may lack a label.
    submission: file name in the benchmark's zip by test split.
    label_column: name of the label in JSONL, CSV and own TSV files.
    group_column: of these files too; rows with one value there stay together in
      folds. '' = rows stand for themselves.
    no_labels: names that a multilabel row may have and that say nothing.
    label_range: lowest and highest target of a regression task.
    choices: columns of a multiple-choice task which are the choices.
    unanswerable: a span task where some questions have no answer.
    folder: folder name in the `glue_data` layout.
    stems: file names without extension by split.
    tsv: columns in the `glue_data` layout.
    tfds: builder and config of tensorflow-datasets, e.g. 'glue/cola'.
    hub: where the Hub has it, see data/fetch.py.
    generated: the rows come from synthetic.py.
    style: reader of the raw files, where their ending doesn't tell.
    format: how the files are read whatever their ending, see
      readers/formats.py; '' asks ending and content.
    grouped: rows whose ids agree up to the last '-' belong together (the
      answers of a MultiRC question, the pairs of AX-g).
    candidates: the rows of a group are the possible answers of one question;
      rows keep their `candidate` and `answers` (ReCoRD).
    references: rows with the same texts are references of one text that is to
      be written; outside training they are one row, with all of them as its
      `references`.
    sources: where a split lies if not where `stems` say: a file, or another
      name of the split in tensorflow-datasets.
    cuts: splits that are drawn from another one.
    given_back: cuts whose rows stay in their source as well, for a last
      training on all of them; such a cut is no longer evaluated.
    seq_mode: how tags make chunks, see glue_jax.metrics.sequence.
    max_length: longest sequence in tokens, where the config names none.
    prompt: classes are asked for, and read from what a model writes; of texts,
      what stands around the columns.
  """

  name: str
  kind: str
  columns: tuple[str, ...]
  labels: tuple[str, ...] = ()
  metrics: tuple[str, ...] = ('accuracy',)
  direction: str = 'max'
  splits: Mapping[str, int | None] = dataclasses.field(
    default_factory=dict, hash=False
  )
  train_split: str = 'train'
  eval_splits: tuple[str, ...] = ('validation',)
  test_splits: tuple[str, ...] = ('test',)
  submission: Mapping[str, str] = dataclasses.field(
    default_factory=dict, hash=False
  )
  label_column: str = 'label'
  group_column: str = ''
  no_labels: tuple[str, ...] = ()
  label_range: tuple[float, float] | None = None
  choices: tuple[str, ...] = ()
  unanswerable: bool = False
  folder: str = ''
  stems: Mapping[str, tuple[str, ...]] = dataclasses.field(
    default_factory=dict, hash=False
  )
  tsv: Tsv | None = None
  tfds: str = ''
  hub: Hub | None = None
  generated: bool = False
  style: str = ''
  format: str = ''
  grouped: bool = False
  candidates: bool = False
  references: bool = False
  sources: Mapping[str, str] = dataclasses.field(
    default_factory=dict, hash=False
  )
  cuts: Mapping[str, Cut] = dataclasses.field(default_factory=dict, hash=False)
  given_back: tuple[str, ...] = ()
  seq_mode: str = ''
  max_length: int | None = None
  prompt: Prompt | None = None

  @property
  def form(self) -> str:
    """How a model answers: 'generation' where it writes, else the kind."""
    return 'generation' if self.prompt else self.kind

  def label_id(self, value: object) -> int:
    """Class id of a label given by name or by number.

    Names go first, so a task may have numbers as names ('1', '2', '3'). A
    number is written without zeros before it: '01' is a name.

    Raises:
      ValueError: neither a name nor an id of this task, or a boolean where no
        name says true or false.
    """
    name = str(value).strip()
    if isinstance(value, bool):
      name = self._truth(value)
    if name in self.labels and value is not None:
      return self.labels.index(name)
    number = int(name) if re.fullmatch('0|[1-9][0-9]*', name) else -1
    if 0 <= number < len(self.labels) and not self._numeric_names():
      return number
    raise ValueError(
      f'unknown label {value!r} of task {self.name}; {self._wanted(name)}'
    )

  def _wanted(self, name: str) -> str:
    """What a label should be, by what an unknown one looks like."""
    form = unicodedata.normalize('NFC', name)
    for label in self.labels:
      if unicodedata.normalize('NFC', label) == form:
        return (
          f'{label!r} of the task is the same in another Unicode form '
          f'({ascii(name)}, {ascii(label)}); write both in one'
        )
    if self._numeric_names():
      return f'expected one of {list(self.labels)}'
    whole = re.fullmatch(r'([0-9]+)\.0+', name)
    hint = f': a whole number, {int(whole[1])}' if whole else ''
    return f'expected one of {list(self.labels)} or its number{hint}'

  def label_set(self, value: object) -> list[int]:
    """Sorted class ids of a multilabel row; may be empty.

    Args:
      value: names or numbers, or the text of a Python or JSON list of them;
        what `no_labels` holds counts as nothing, as does null beside it.

    Raises:
      ValueError: not a list, or a label that isn't one of this task.
    """
    given = value
    if isinstance(value, str):
      value = _listed(value)
    if not isinstance(value, (list, tuple)):
      raise ValueError(
        f'{given!r} is no list of labels; expected names in brackets, '
        '["a", "b"], or [] for none'
      )
    nothing = (*self.no_labels, None) if self.no_labels else ()
    return sorted({self.label_id(v) for v in value if v not in nothing})

  def label_names(self, ids: Sequence[int]) -> list[str]:
    """Names of class ids."""
    return [self.labels[int(i)] for i in ids]

  def _truth(self, value: bool) -> str:
    """The name that says true or false.

    Raises:
      ValueError: none does; its number would be a guess.
    """
    same = ('true', 'yes', '1') if value else ('false', 'no', '0')
    names = [name for name in self.labels if name.lower() in same]
    if not names:
      raise ValueError(
        f'label {str(value).lower()} is a boolean, and none of '
        f'{list(self.labels)}, the names of task {self.name}, is one of '
        f'{list(same)}; write names or numbers into the data'
      )
    return names[0]

  def _numeric_names(self) -> bool:
    return any(name.lstrip('-').isdigit() for name in self.labels)


def _listed(text: str) -> object:
  """What a JSON or Python text stands for; the text where it is neither."""
  for read in (json.loads, ast.literal_eval):
    try:
      return read(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
      pass
  return text
