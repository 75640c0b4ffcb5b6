"""Task records: official facts, labels, own tasks, errors."""

import pytest

from glue_jax.data.tasks import by_name


def test_records_hold_the_official_facts():
  assert by_name.get('rte').labels == ('entailment', 'not_entailment')
  assert by_name.get('wnli').labels == ('not_entailment', 'entailment')
  assert by_name.get('mnli').labels == (
    'entailment',
    'neutral',
    'contradiction',
  )
  assert by_name.get('cola').metrics[0] == 'matthews'
  assert by_name.get('mrpc').metrics == ('f1', 'accuracy')
  assert by_name.get('qqp').splits['test'] == 390965
  assert by_name.get('mnli').splits['validation_mismatched'] == 9832
  assert by_name.get('squad_v2').unanswerable
  assert not by_name.get('squad_v1').unanswerable


def test_submission_files_are_the_eleven_of_the_zip():
  names = [
    name
    for task in by_name.TASKS.values()
    if task.tfds.startswith('glue/')
    for name in task.submission.values()
  ]
  zipped = {'CoLA', 'SST-2', 'MRPC', 'QQP', 'STS-B', 'MNLI-m', 'MNLI-mm'}
  zipped |= {'QNLI', 'RTE', 'WNLI', 'AX'}
  assert sorted(names) == sorted(f'{name}.tsv' for name in zipped)


def test_num_outputs():
  sizes = {'cola': 2, 'mnli': 3, 'stsb': 1, 'squad_v1': 2}
  for name, size in sizes.items():
    assert by_name.num_outputs(by_name.get(name)) == size


@pytest.mark.parametrize(
  'value, expected',
  [('entailment', 0), ('not_entailment', 1), ('1', 1), (0, 0)],
)
def test_labels_by_name_or_number(value, expected):
  assert by_name.get('rte').label_id(value) == expected


def test_a_boolean_is_no_place_in_the_list_of_names():
  with pytest.raises(ValueError, match=r"label true is a boolean.*'entailm"):
    by_name.get('rte').label_id(True)


def test_numeric_names_are_names():
  task = by_name.make(
    'stars', kind='classification', columns='text', labels=('1', '2', '3')
  )
  assert task.label_id(1) == 0
  assert task.label_id('3') == 2
  with pytest.raises(ValueError, match="unknown label '0'"):
    task.label_id('0')
  assert task.label_names([0, 2]) == ['1', '3']


def test_unknown_label_lists_the_known_ones():
  with pytest.raises(ValueError, match=r"'maybe'.*rte.*'not_entailment'"):
    by_name.get('rte').label_id('maybe')
  with pytest.raises(ValueError, match='unknown label 2'):
    by_name.get('rte').label_id(2)


def test_known_task_with_changes():
  task = by_name.make('mrpc', metrics=('accuracy',), train_split='')
  assert task.metrics == ('accuracy',)
  assert task.tsv == by_name.get('mrpc').tsv
  assert task.train_split == ''


def test_own_tasks():
  task = by_name.make(
    'mine',
    kind='classification',
    columns='text, title',
    label='target',
    labels='no,yes',
  )
  assert task.columns == ('text', 'title')
  assert task.labels == ('no', 'yes')
  assert task.label_column == 'target'
  scored = by_name.make('s', kind='regression', columns=('text',))
  assert scored.metrics == ('pearson', 'spearman')
  corpus = by_name.make('c', kind='language_modeling')
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
    by_name.make('mine', **fields)
