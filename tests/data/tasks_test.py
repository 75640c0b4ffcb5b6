"""Task records: official facts, labels, own tasks, errors."""

import pytest

from glue_jax.data import tasks


def test_records_hold_the_official_facts():
  assert tasks.get('rte').labels == ('entailment', 'not_entailment')
  assert tasks.get('wnli').labels == ('not_entailment', 'entailment')
  assert tasks.get('mnli').labels == ('entailment', 'neutral', 'contradiction')
  assert tasks.get('cola').metrics[0] == 'matthews'
  assert tasks.get('mrpc').metrics == ('f1', 'accuracy')
  assert tasks.get('qqp').splits['test'] == 390965
  assert tasks.get('mnli').splits['validation_mismatched'] == 9832
  assert tasks.get('squad_v2').unanswerable
  assert not tasks.get('squad_v1').unanswerable


def test_submission_files_are_the_eleven_of_the_zip():
  names = [
    name
    for task in tasks.TASKS.values()
    if task.tfds.startswith('glue/')
    for name in task.submission.values()
  ]
  zipped = {'CoLA', 'SST-2', 'MRPC', 'QQP', 'STS-B', 'MNLI-m', 'MNLI-mm'}
  zipped |= {'QNLI', 'RTE', 'WNLI', 'AX'}
  assert sorted(names) == sorted(f'{name}.tsv' for name in zipped)


def test_num_outputs():
  sizes = {'cola': 2, 'mnli': 3, 'stsb': 1, 'squad_v1': 2}
  for name, size in sizes.items():
    assert tasks.num_outputs(tasks.get(name)) == size


@pytest.mark.parametrize(
  'value, expected',
  [('entailment', 0), ('not_entailment', 1), ('1', 1), (0, 0), (True, 1)],
)
def test_labels_by_name_or_number(value, expected):
  assert tasks.get('rte').label_id(value) == expected


def test_numeric_names_are_names():
  task = tasks.make(
    'stars', kind='classification', columns='text', labels=('1', '2', '3')
  )
  assert task.label_id(1) == 0
  assert task.label_id('3') == 2
  with pytest.raises(ValueError, match="unknown label '0'"):
    task.label_id('0')
  assert task.label_names([0, 2]) == ['1', '3']


def test_unknown_label_lists_the_known_ones():
  with pytest.raises(ValueError, match=r"'maybe'.*rte.*'not_entailment'"):
    tasks.get('rte').label_id('maybe')
  with pytest.raises(ValueError, match='unknown label 2'):
    tasks.get('rte').label_id(2)


def test_known_task_with_changes():
  task = tasks.make('mrpc', metrics=('accuracy',), train_split='')
  assert task.metrics == ('accuracy',)
  assert task.tsv == tasks.get('mrpc').tsv
  assert task.train_split == ''


def test_own_tasks():
  task = tasks.make(
    'mine',
    kind='classification',
    columns='text, title',
    label='target',
    labels='no,yes',
  )
  assert task.columns == ('text', 'title')
  assert task.labels == ('no', 'yes')
  assert task.label_column == 'target'
  scored = tasks.make('s', kind='regression', columns=('text',))
  assert scored.metrics == ('pearson', 'spearman')
  corpus = tasks.make('c', kind='language_modeling')
  assert (corpus.direction, corpus.test_splits) == ('min', ())


@pytest.mark.parametrize(
  'fields, message',
  [
    (dict(), 'unknown task'),
    (dict(kind='ranking', columns='a'), 'ranking'),
    (dict(kind='classification', labels='a,b'), 'columns is empty'),
    (dict(kind='classification', columns='a', labels='x'), 'two classes'),
    (dict(kind='classification', columns='a', labels='x,x'), 'repeats'),
    (dict(kind='classification', columns='a,b,c', labels='x,y'), 'a pair'),
    (dict(kind='multiple_choice', columns='a,b', choices='a,c'), 'choices'),
    (dict(kind='regression', columns='a', direction='up'), 'direction'),
  ],
)
def test_bad_own_tasks(fields, message):
  with pytest.raises(ValueError, match=message):
    tasks.make('mine', **fields)
