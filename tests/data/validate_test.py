"""Findings over splits: what repeats, what leaks, what can't be learnt."""

from glue_jax.data import validate
from glue_jax.data.table import Table
from glue_jax.data.tasks import by_name


def table(split, *rows):
  task = by_name.make(
    'mine',
    kind='classification',
    columns=('text',),
    labels=('no', 'yes'),
    metrics=('accuracy',),
  )
  made = [{'text': text, 'label': label} for text, label in rows]
  return Table(task, split, made, 'rows', 'generated', True)


def test_nothing_to_say_of_clean_splits():
  tables = {
    'train': table('train', ('a', 0), ('b', 1)),
    'validation': table('validation', ('c', 1)),
  }
  assert validate.splits(tables) == []


def test_each_fault_is_named_and_only_two_kinds_leak():
  tables = {
    'train': table('train', ('a', 0), ('b', 0), ('b', 0)),
    'validation': table('validation', ('a', 0), ('c', 1)),
  }
  repeated, shared, absent, unseen = validate.splits(tables)
  assert not repeated.leaks
  assert 'train: 1 rows repeat' in repeated.message
  assert shared.leaks
  assert 'validation: 1 rows have a text that is also in train' in (
    shared.message
  )
  assert not absent.leaks
  assert absent.message == "train: no row of rows has the label 'yes'"
  assert unseen.leaks
  assert "row 1 has the label 'yes', which no row of train" in unseen.message
