"""Records of SuperGLUE's eight tasks and its two diagnostics.

Wang et al. 2019, arXiv 1905.00537; sizes of the published files. They are read
from JSON lines in `<data_dir>/superglue/<folder>` or `<data_dir>/<folder>`, or
from the Hub's Parquet files there, not from tensorflow-datasets, whose builders
of these need TensorFlow. The task
`rte` is GLUE's: the same rows in another layout are `superglue_rte`.
"""

from glue_jax.data.tasks.task import STEMS, Hub, Task

_HUB = 'aps/super_glue'
_BOOLEAN = ('False', 'True')
_NLI2 = ('entailment', 'not_entailment')


def _task(
  name: str,
  folder: str,
  columns: tuple[str, ...],
  labels: tuple[str, ...],
  counts: tuple[int | None, ...],
  metrics: tuple[str, ...] = ('accuracy',),
  **fields,
) -> Task:
  return Task(
    name=name,
    kind=fields.pop('kind', 'classification'),
    columns=columns,
    labels=labels,
    metrics=metrics,
    splits=dict(zip(('train', 'validation', 'test'), counts)),
    submission={'test': f'{folder}.jsonl'},
    folder=f'superglue/{folder}',
    stems=STEMS,
    hub=Hub(_HUB, folder.lower()),
    **fields,
  )


def _diagnostic(name, folder, columns, count, metrics, **fields) -> Task:
  return Task(
    name=name,
    kind='classification',
    columns=columns,
    labels=_NLI2,
    metrics=metrics,
    splits={'test': count},
    train_split='',
    eval_splits=(),
    submission={'test': f'{folder}.jsonl'},
    folder=f'superglue/{folder}',
    stems={'test': (folder, 'test')},
    hub=Hub(_HUB, name),
    **fields,
  )


RECORDS = (
  _task(
    'boolq', 'BoolQ', ('question', 'passage'), _BOOLEAN, (9427, 3270, 3245),
    max_length=256,
  ),
  _task(
    'cb', 'CB', ('premise', 'hypothesis'),
    ('entailment', 'contradiction', 'neutral'), (250, 56, 250),
    ('accuracy', 'macro_f1'),
  ),
  _task(
    'copa', 'COPA', ('premise', 'question', 'choice1', 'choice2'), (),
    (400, 100, 500), kind='multiple_choice', choices=('choice1', 'choice2'),
    style='copa',
  ),
  _task(
    'multirc', 'MultiRC', ('paragraph', 'question_answer'), _BOOLEAN,
    (27243, 4848, 9693), ('f1', 'exact_match'), style='multirc', grouped=True,
    max_length=324,
  ),
  # Rows are candidates; the published sizes count queries.
  _task(
    'record', 'ReCoRD', ('passage', 'query'), _BOOLEAN, (None, None, None),
    ('f1', 'exact_match'), style='record', grouped=True, candidates=True,
    max_length=256,
  ),
  _task(
    'superglue_rte', 'RTE', ('premise', 'hypothesis'), _NLI2, (2490, 277, 3000)
  ),
  _task(
    'wic', 'WiC', ('sentence1', 'sentence2'), _BOOLEAN, (5428, 638, 1400),
    style='wic',
  ),
  _task('wsc', 'WSC', ('text',), _BOOLEAN, (554, 104, 146), style='wsc'),
  _diagnostic(
    'axb', 'AX-b', ('sentence1', 'sentence2'), 1104, ('matthews', 'accuracy')
  ),
  _diagnostic(
    'axg', 'AX-g', ('premise', 'hypothesis'), 356,
    ('accuracy', 'gender_parity'), style='axg', grouped=True,
  ),
)  # fmt: skip
