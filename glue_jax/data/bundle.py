"""The data of a run: what `pipeline.build` makes."""

import dataclasses

from glue_jax.data import batching
from glue_jax.data.table import Table
from glue_jax.data.tasks.task import Task
from glue_jax.data.tokenizer import Tokenizer


@dataclasses.dataclass
class DataBundle:
  """What the loop needs of the data.

  Attributes:
    task: the task's record.
    tokenizer: the tokenizer.
    train: training batches, None when there is no training split.
    evals: batches by evaluation split.
    tables: rows by split (none for corpora).
    buckets: lengths of batches, the last is max_length.
    notes: warnings, for the log and the run record.
    train_split: that is trained on; '' for none.
    transductive: whether inputs of evaluation splits are trained on.
  """

  task: Task
  tokenizer: Tokenizer
  train: batching.TrainBatches | None
  evals: dict[str, batching.EvalBatches]
  tables: dict[str, Table]
  buckets: tuple[int, ...]
  notes: tuple[str, ...]
  train_split: str = ''
  transductive: bool = False
