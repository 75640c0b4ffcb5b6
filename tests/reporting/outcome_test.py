"""The result of several stages, and the table a run ends with."""

import json

from glue_jax.reporting import outcome

RENDERS = True


def result(task, value):
  primary = dict(
    metric='accuracy', direction='max', splits=['validation'], value=value
  )
  return dict(task=task, primary=primary)


def test_the_last_stage_is_the_result_and_all_are_kept(tmp_path):
  first = result('corpus', 0.25) | {'primary': None}
  last = result('mini_sentiment', 0.75)
  joint = outcome.write_stages(tmp_path, {'one': first, 'two': last})
  assert joint == last | {'stages': {'one': first, 'two': last}}
  assert json.loads((tmp_path / 'result.json').read_text()) == joint
  assert (tmp_path / 'scores.png').stat().st_size > 0


def test_the_table_shows_stages_and_what_a_bag_of_words_reaches():
  last = result('mini_sentiment', 0.75)
  both = last | {'stages': {'one': result('rte', 0.5), 'b': last}}
  text = outcome.table(both, {'mini_sentiment': 0.522}.get)
  assert 'bag of words' in text and '0.75' in text and '0.522' in text
  assert any('one' in x and 'rte' in x for x in text.splitlines())
  plain = outcome.table(result('rte', 0.5), {}.get)
  assert 'bag of words' not in plain and 'stage' not in plain


def test_rows_and_notes_stand_beside_the_scores():
  rows = {'validation': {'used': 139, 'given': 277}}
  noted = result('rte', 0.5) | {'rows': rows, 'notes': ['one note']}
  text = outcome.table(noted, {}.get)
  assert '139 of 277' in text and text.endswith('\none note')
  both = noted | {'stages': {'a': noted, 'b': noted}}
  assert outcome.table(both, {}.get).endswith('\na: one note\nb: one note')
