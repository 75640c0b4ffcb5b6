"""Records of the known tasks.

GLUE (Wang et al. 2018, arXiv 1804.07461), SQuAD 1.1 / 2.0 (Rajpurkar et al.
2016, arXiv 1606.05250; 2018, arXiv 1806.03822) and mini-GLUE (synthetic.py).
Feature names, label order and row counts are those of the
tensorflow-datasets builders `glue` 2.0.0 and `squad` 3.0.0, so every reader
gives the same rows; `Tsv` maps them to the columns of the `glue_data` files.
"""

from glue_jax.data.tasks.task import STEMS, Hub, Task, Tsv

_PAIR = ('sentence1', 'sentence2')
_HUB = 'nyu-mll/glue'
_NLI2 = ('entailment', 'not_entailment')
_NLI3 = ('entailment', 'neutral', 'contradiction')


def _glue(
  name: str,
  folder: str,
  columns: tuple[str, ...],
  labels: tuple[str, ...],
  metrics: tuple[str, ...],
  counts: tuple[int, int, int],
  tsv: Tsv,
) -> Task:
  return Task(
    name=name,
    kind='classification' if labels else 'regression',
    columns=columns,
    labels=labels,
    metrics=metrics,
    splits=dict(zip(('train', 'validation', 'test'), counts)),
    submission={'test': f'{folder}.tsv'},
    folder=folder,
    stems=STEMS,
    tsv=tsv,
    tfds=f'glue/{name}',
    hub=Hub(_HUB, name),
    label_range=None if labels else (0.0, 5.0),
  )


def _mnli() -> Task:
  halves = ('matched', 'mismatched')
  return Task(
    name='mnli',
    kind='classification',
    columns=('premise', 'hypothesis'),
    labels=_NLI3,
    metrics=('accuracy',),
    splits={
      'train': 392702,
      'validation_matched': 9815,
      'validation_mismatched': 9832,
      'test_matched': 9796,
      'test_mismatched': 9847,
    },
    eval_splits=tuple(f'validation_{half}' for half in halves),
    test_splits=tuple(f'test_{half}' for half in halves),
    submission={'test_matched': 'MNLI-m.tsv', 'test_mismatched': 'MNLI-mm.tsv'},
    folder='MNLI',
    stems={
      'train': ('train',),
      **{
        f'validation_{h}': (f'dev_{h}', f'validation_{h}', f'val_{h}')
        for h in halves
      },
      **{f'test_{h}': (f'test_{h}',) for h in halves},
    },
    tsv=Tsv(_PAIR, label='gold_label', idx='index'),
    tfds='glue/mnli',
    hub=Hub(_HUB, 'mnli'),
  )


def _squad(
  name: str, version: str, counts: tuple[int, int], hub: Hub, **fields
) -> Task:
  return Task(
    name=name,
    kind='span',
    columns=('question', 'context'),
    splits=dict(zip(('train', 'validation'), counts)),
    test_splits=(),
    submission={'validation': 'predictions.json'},
    folder=name,
    stems={
      'train': (f'train-{version}', 'train'),
      'validation': (f'dev-{version}', 'dev', 'validation'),
    },
    tfds=f'squad/{version}',
    hub=hub,
    **fields,
  )


def _mini(name: str, columns: tuple[str, ...], labels: tuple[str, ...]) -> Task:
  return Task(
    name=name,
    kind='classification',
    columns=columns,
    labels=labels,
    metrics=('accuracy',),
    splits={'train': 8000, 'validation': 500, 'test': 500},
    generated=True,
  )


RECORDS = (
  _glue(
    'cola',
    'CoLA',
    ('sentence',),
    ('unacceptable', 'acceptable'),
    ('matthews', 'accuracy'),
    (8551, 1043, 1063),
    Tsv(
      ('sentence',),
      idx='index',
      headerless=('source', 'label', 'mark', 'sentence'),
    ),
  ),
  _glue(
    'sst2',
    'SST-2',
    ('sentence',),
    ('negative', 'positive'),
    ('accuracy',),
    (67349, 872, 1821),
    Tsv(('sentence',), idx='index'),
  ),
  _glue(
    'mrpc',
    'MRPC',
    _PAIR,
    ('not_equivalent', 'equivalent'),
    ('f1', 'accuracy'),
    (3668, 408, 1725),
    Tsv(('#1 String', '#2 String'), label='Quality', idx='index'),
  ),
  _glue(
    'qqp',
    'QQP',
    ('question1', 'question2'),
    ('not_duplicate', 'duplicate'),
    ('f1', 'accuracy'),
    (363846, 40430, 390965),
    Tsv(('question1', 'question2'), label='is_duplicate', idx='id'),
  ),
  _glue(
    'stsb',
    'STS-B',
    _PAIR,
    (),
    ('pearson', 'spearman'),
    (5749, 1500, 1379),
    Tsv(_PAIR, label='score', idx='index'),
  ),
  _mnli(),
  _glue(
    'qnli',
    'QNLI',
    ('question', 'sentence'),
    _NLI2,
    ('accuracy',),
    (104743, 5463, 5463),
    Tsv(('question', 'sentence'), idx='index'),
  ),
  _glue(
    'rte',
    'RTE',
    _PAIR,
    _NLI2,
    ('accuracy',),
    (2490, 277, 3000),
    Tsv(_PAIR, idx='index'),
  ),
  _glue(
    'wnli',
    'WNLI',
    _PAIR,
    ('not_entailment', 'entailment'),
    ('accuracy',),
    (635, 71, 146),
    Tsv(_PAIR, idx='index'),
  ),
  Task(
    name='ax',
    kind='classification',
    columns=('premise', 'hypothesis'),
    labels=_NLI3,
    metrics=('matthews', 'accuracy'),
    splits={'test': 1104},
    train_split='',
    eval_splits=(),
    submission={'test': 'AX.tsv'},
    folder='diagnostic',
    stems={'test': ('diagnostic', 'AX', 'test')},
    tsv=Tsv(_PAIR, idx='index'),
    tfds='glue/ax',
    hub=Hub(_HUB, 'ax'),
  ),
  _squad(
    'squad_v1',
    'v1.1',
    (87599, 10570),
    Hub('rajpurkar/squad', 'plain_text'),
    metrics=('f1', 'exact_match'),
  ),
  _squad(
    'squad_v2',
    'v2.0',
    (130319, 11873),
    Hub('rajpurkar/squad_v2', 'squad_v2'),
    metrics=('f1', 'exact'),
    unanswerable=True,
  ),
  _mini('mini_acceptability', ('sentence',), ('unacceptable', 'acceptable')),
  _mini('mini_sentiment', ('sentence',), ('negative', 'positive')),
  _mini('mini_entailment', ('premise', 'hypothesis'), _NLI2),
)
