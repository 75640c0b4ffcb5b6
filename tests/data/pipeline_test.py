"""From a task and files to batches."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from glue_jax.data import pipeline
from glue_jax.data.tasks import by_name


def test_generated_task():
  task = by_name.get('mini_sentiment')
  bundle = pipeline.build(
    task, max_length=24, buckets=(16, 48), train_limit=100, eval_limit=50
  )
  assert bundle.buckets == (16, 24)
  assert bundle.train.num_examples == 100
  assert list(bundle.evals) == ['validation']
  assert bundle.evals['validation'].num_examples == 50
  assert len(bundle.tables['validation']) == 50
  assert bundle.notes == ()
  batch = bundle.train.batch(0)
  assert batch['input_ids'].max() < bundle.tokenizer.vocab_size
  unknown = bundle.tokenizer.unk_id
  assert not (bundle.train.examples.ids == unknown).any()


def test_limits_depend_on_the_data_seed_alone():
  def rows(**seeds):
    task = by_name.get('mini_sentiment')
    bundle = pipeline.build(task, train_limit=30, eval_splits=(), **seeds)
    texts = [row['sentence'] for row in bundle.tables['train'].rows]
    return texts, bundle.train.rows(0).tolist()

  texts, order = rows(seed=1)
  again, other = rows(seed=2)
  assert texts == again and order != other
  assert rows(data_seed=5)[0] != texts
  with pytest.raises(ValueError, match='limit of 0 rows'):
    pipeline.build(by_name.get('mini_sentiment'), train_limit=0)


def own_files(tmp_path):
  text = 'text,y\ngood day,yes\nbad day,no\na day,yes\n'
  (tmp_path / 'a.csv').write_text(text)
  (tmp_path / 'b.csv').write_text('text,y\ngood,yes\nbad,no\n')
  (tmp_path / 'c.csv').write_text('text\nhidden\n')
  task = by_name.make(
    'mine', kind='classification', columns='text', label='y', labels='no,yes'
  )
  names = ('train', 'validation', 'test')
  return task, {s: str(tmp_path / f'{f}.csv') for s, f in zip(names, 'abc')}


def test_own_task(tmp_path):
  task, files = own_files(tmp_path)
  bundle = pipeline.build(
    task, files=files, eval_splits=('validation', 'test'), cache_dir=tmp_path
  )
  assert bundle.train.num_examples == 3
  assert 'labels' in bundle.evals['validation'][0]
  assert 'labels' not in bundle.evals['test'][0]
  with pytest.raises(ValueError, match='has no labels'):
    pipeline.build(task, files=files, train_split='test')


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, caplog):
  task, files = own_files(tmp_path)
  (tmp_path / 'file').write_text('')
  bundle = pipeline.build(task, files=files, cache_dir=tmp_path / 'file' / 'x')
  assert bundle.train.num_examples == 3
  assert 'goes on without the cache' in caplog.text


def test_evaluation_only(tmp_path):
  task, files = own_files(tmp_path)
  made = pipeline.build(task, files=files).tokenizer
  bundle = pipeline.build(task, files=files, tokenizer=made, train_split='')
  assert bundle.train is None and list(bundle.tables) == ['validation']
  with pytest.raises(ValueError, match='name a tokenizer folder'):
    pipeline.build(task, files=files, train_split='')
  made.save(tmp_path / 'folder')
  loaded = pipeline.build(
    task, files=files, tokenizer=tmp_path / 'folder', train_split=''
  )
  assert loaded.tokenizer.fingerprint == made.fingerprint


def test_cut_examples_are_noted(tmp_path):
  task, files = own_files(tmp_path)
  bundle = pipeline.build(task, files=files, max_length=3, eval_splits=())
  assert bundle.notes == (
    'mine train: 3 examples lost tokens at max_length=3 (100.0% of 3)',
  )


def test_a_task_may_say_its_length_and_the_config_has_the_last_word(tmp_path):
  task, files = own_files(tmp_path)
  task = dataclasses.replace(task, max_length=3)
  options = dict(files=files, eval_splits=())
  assert '=3' in pipeline.build(task, **options).notes[0]
  assert not pipeline.build(task, max_length=9, **options).notes


def test_a_cased_vocabulary_keeps_diacritics(tmp_path):
  (tmp_path / 'a.csv').write_text('text,y\nŁódź i łódź,no\n')
  task = by_name.make(
    'mine', kind='classification', columns='text', label='y', labels='no,yes'
  )
  files = {'train': str(tmp_path / 'a.csv')}
  for lowercase, same in ((False, False), (True, True)):
    made = pipeline.build(
      task, files=files, eval_splits=(), lowercase=lowercase
    ).tokenizer
    ids = [
      made.encode([word], max_length=9).ids.tolist()
      for word in ('Łódź', 'łódź')
    ]
    assert (ids[0] == ids[1]) == same


def test_corpus(tmp_path):
  (tmp_path / 'text').mkdir()
  (tmp_path / 'text' / 'one.txt').write_text('some words to learn\n' * 30)
  task = by_name.make('corpus', kind='language_modeling')
  options = dict(data_dir=str(tmp_path), max_length=16, vocab_size=50)
  bundle = pipeline.build(
    task,
    files={'train': 'text', 'validation': 'text/one.txt'},
    train_limit=4,
    **options,
  )
  assert bundle.train.num_examples == 4
  assert sorted(bundle.train.batch(0)['idx'][:4]) == [0, 1, 2, 3]
  assert 'word_ids' in bundle.train.batch(0)
  assert bundle.evals['validation'].num_examples > 4
  with pytest.raises(ValueError, match='needs data.files'):
    pipeline.build(task, files={'train': 'text'}, **options)


def test_processes_are_passed_on():
  task = by_name.get('mini_sentiment')
  options = dict(train_limit=40, eval_limit=20, process_count=2)
  halves = [pipeline.build(task, process_index=i, **options) for i in range(2)]
  for name in ('train', 'validation'):
    parts = [
      half.train.batch(0) if name == 'train' else half.evals[name][0]
      for half in halves
    ]
    idx = np.concatenate([part['idx'] for part in parts])
    assert len(np.unique(idx[idx >= 0])) == (32 if name == 'train' else 20)


def test_own_texts():
  bundle = pipeline.build(by_name.get('mini_entailment'), train_limit=50)
  rows = [{'premise': 'the dog sleeps', 'hypothesis': 'a cat'}] * 3
  table, batches = pipeline.from_rows(
    bundle.task, rows, bundle.tokenizer, max_length=16, batch_size=2
  )
  assert len(table) == 3 and len(batches) == 2
  assert 'labels' not in batches[0]
  with pytest.raises(ValueError, match='stdin:1: .* lack hypothesis'):
    pipeline.from_rows(
      bundle.task, [{'premise': 'a'}], bundle.tokenizer, source='stdin'
    )


def test_no_heavy_or_foreign_library_is_imported():
  code = (
    'import sys; from glue_jax.data import pipeline;'
    'from glue_jax.evaluation import spans;'
    'heavy = {"tensorflow", "torch", "transformers", "tensorflow_datasets",'
    ' "grain", "sklearn"} & set(sys.modules); assert not heavy, heavy'
  )
  subprocess.run([sys.executable, '-c', code], check=True)


def test_what_tokenizing_loses_is_a_note(tmp_path):
  """Answers in no window, which are not learnt, and words without a token."""
  context = 'the mill burnt down in 1912 and was built again . ' * 3
  answers = [
    {'text': '1912', 'answer_start': context.index('1912')},
    {'text': context[4:-2], 'answer_start': 4},
  ]
  questions = [
    {'id': str(i), 'question': 'when ?', 'answers': [answer]}
    for i, answer in enumerate(answers)
  ]
  part = {'context': context, 'qas': questions}
  path = tmp_path / 'train.json'
  path.write_text(json.dumps({'data': [{'paragraphs': [part]}]}))
  settings = dict(buckets=(16,), max_length=16, max_query_length=3)
  task = by_name.make('mills', kind='span', columns='question,context')
  bundle = pipeline.build(task, data_dir=tmp_path, eval_splits=(), **settings)
  assert '1 of 2 questions (50.0%) have an answer' in bundle.notes[-1]
  examples = bundle.train.examples
  assert set(examples.example) == {0} and (examples.starts > 0).any()
  assert examples.idx.tolist() == list(range(len(examples)))
  tags = by_name.make(
    'tags', kind='token_classification', columns='words', labels='O,B,I'
  )
  (tmp_path / 'train.jsonl').write_text(
    '{"words": ["a", "\\u200b", "b"], "label": ["O", "B", "O"]}\n'
  )
  files = {'train': tmp_path / 'train.jsonl'}
  bundle = pipeline.build(tags, files=files, eval_splits=())
  absent, words = bundle.notes
  assert "has the label 'I'" in absent and '1 words have no token' in words
