"""metadata.json, key by key: what is unknown, missing or odd is refused."""

import json

import pytest

from glue_jax.leaderboard import safety
from glue_jax.leaderboard.contribution import metadata
from glue_jax.leaderboard.safety import Refused
from launch.miniatures.parts import invented_board


def valid():
  return json.loads(json.dumps(invented_board.metadata('m', ['t'], [0, 1])))


def parse(document, method='m'):
  text = (
    document if isinstance(document, str) else json.dumps(document, indent=1)
  )
  return metadata.parse(text.encode(), 'm.json', method, safety.DEFAULT)


def put(document, path, value):
  *parents, last = path.split('.')
  for part in parents:
    document = document[part]
  if value is None:
    del document[last]
  else:
    document[last] = value


def test_valid_metadata_is_returned_as_it_stands():
  assert parse(valid()) == valid()


def test_every_key_is_required_but_the_named_ones():
  for key in valid():
    document = valid()
    del document[key]
    with pytest.raises(Refused, match=f'lacks {key}'):
      parse(document)
  for key in valid()['runs']['t']:
    document = valid()
    del document['runs']['t'][key]
    with pytest.raises(Refused, match=f'metadata.runs.t lacks {key}'):
      parse(document)
  document = valid()
  del document['runs']['t']['train']['peak_memory_bytes']
  parse(document)


@pytest.mark.parametrize(
  'path, value, what',
  [
    ('score', 0.99, "unknown keys 'score'"),
    ('runs.t.accuracy', 0.99, "unknown keys 'accuracy'"),
    ('__proto__', {}, "unknown keys '__proto__'"),
    ('schema_version', 2, 'expected 1'),
    ('schema_version', True, 'expected 1'),
    ('method', 'other', "'other', but the folder is 'm'"),
    ('method', '<img src=x onerror=alert(1)>', 'refused'),
    ('description', 'x' * 4001, 'has 4001 characters'),
    ('description', 'a\u202eb', r'U\+202E'),
    ('variant', 'a\nb', r'U\+000A'),
    ('authors', [], 'a list of 1 to 100'),
    ('authors', ['a'] * 101, 'a list of 1 to 100'),
    ('authors', 'A', 'a list of 1 to 100'),
    ('authors', [''], r'authors\[0\] is empty'),
    ('contact', 'nobody', 'expected http'),
    ('contact', '', 'is empty'),
    ('paper', 'javascript:alert(1)', 'expected http'),
    ('code.repository', 'git@example.org:x', 'expected http'),
    ('code.commit', 'HEAD; rm -rf /', "commit's hex digits"),
    ('licence', ' ', 'is empty'),
    ('date', '2026-13-01', 'YYYY-MM-DD'),
    ('date', '20260131', 'YYYY-MM-DD'),
    ('search_trials', -1, 'at least 0'),
    ('search_trials', 1.5, 'expected an integer'),
    ('search_trials', True, 'expected an integer'),
    ('extra_data', 'none', 'a list of 1 to 50'),
    ('packages', {'a': 1}, 'expected a text'),
    ('packages', {str(i): '1' for i in range(201)}, 'at most 200 keys'),
    ('runs', {'../x': {}}, "key of metadata.runs '../x' refused"),
    ('runs', [], 'an object'),
    ('runs.t.params_trainable', 10**8, 'parameters trained of 10000000'),
    ('runs.t.train.seconds', -1, 'finite number from 0'),
    ('runs.t.train.seconds', 'fast', 'expected a number'),
    ('runs.t.train.seconds', None, 'lacks seconds'),
    ('runs.t.train.hardware', '', 'is empty'),
    ('runs.t.seeds', [], 'a list of 1 to 1000'),
    ('runs.t.git_dirty', 'no', 'true or false'),
    ('runs.t.dataset', 'glue', 'expected an object'),
    ('runs.t.dataset.sha256', 'xyz', 'hex digits'),
    ('runs.t.inference', {'batch': 0}, 'lacks seq_len'),
  ],
)
def test_odd_values_are_refused_with_their_key(path, value, what):
  document = valid()
  put(document, path, value)
  with pytest.raises(Refused, match=what) as error:
    parse(document)
  assert str(error.value).startswith('m.json:')


def test_the_line_of_a_problem_is_named():
  document = valid()
  document['date'] = 'yesterday'
  text = json.dumps(document, indent=1)
  line = text[: text.index('"date"')].count('\n') + 1
  with pytest.raises(Refused, match=f'm.json:{line}: metadata.date'):
    parse(text)
  with pytest.raises(Refused, match='m.json:1: metadata is'):
    parse('[]')
