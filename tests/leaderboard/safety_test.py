"""Names, texts, addresses, JSON and lines that a stranger wrote."""

import gc
import json
import math
import time

import hypothesis
import hypothesis.strategies as st
import pytest

from glue_jax.leaderboard import safety
from glue_jax.leaderboard.safety import DEFAULT, Limits, Refused

HOSTILE_NAMES = (
  '',
  '.',
  '..',
  '../x',
  'a/b',
  'a\\b',
  'C:x',
  '-rf',
  '.hidden',
  'a b',
  'x' * 65,
  '<img src=x onerror=alert(1)>',
  'pay\u202epal',
  'a\x00b',
  'a\n',
  'naïve',
  '\uff41',
)


@pytest.mark.parametrize('name', HOSTILE_NAMES)
def test_names_that_are_no_plain_word_are_refused(name):
  with pytest.raises(Refused, match='expected 1 to 64 of'):
    safety.check_name(name)


@pytest.mark.parametrize('name', ['a', '0', 'BERT_base-2.1', 'x' * 64, 'a..b'])
def test_plain_names_are_returned(name):
  assert safety.check_name(name) == name


@pytest.mark.parametrize(
  'text, what',
  [
    ('\u202eabc', 'U+202E'),  # reads backwards
    ('a\u2066b', 'U+2066'),
    ('a\u200bb', 'U+200B'),  # invisible
    ('a\x1b[31mb', 'U+001B'),
    ('a\x00', 'U+0000'),
    ('a\nb', 'U+000A'),
    ('e\u0301', 'normal form C'),
    ('x' * 11, 'has 11 characters'),
    (7, 'expected a text'),
  ],
)
def test_texts_that_hide_or_reorder_are_refused(text, what):
  with pytest.raises(Refused, match=what.replace('+', r'\+')):
    safety.check_text(text, 'description', 10)


def test_texts_in_any_script_pass():
  for text in ('Zażółć', '语言模型', 'ру́сский'[:2], '<b>', ''):
    assert safety.check_text(text, 'description', 10) == text
  assert safety.check_text('a\nb', 'description', 10, newlines=True) == 'a\nb'


@pytest.mark.parametrize(
  'url',
  [
    'javascript:alert(1)',
    'JaVaScRiPt:alert(1)',
    'data:text/html,<script>alert(1)</script>',
    'file:///etc/passwd',
    '//example.org',
    'https://',
    'https://user@example.org',
    'https://example.org/ x',
    'https://example.org\n',
    ' https://example.org',
  ],
)
def test_addresses_other_than_http_are_refused(url):
  with pytest.raises(Refused):
    safety.check_url(url, 'paper')


def test_http_addresses_pass():
  for url in ('', 'http://example.org', 'https://example.org:8443/a?b=c#d'):
    assert safety.check_url(url, 'paper') == url


@pytest.mark.parametrize(
  'text, what',
  [
    ('{"a": NaN}', 'NaN is no JSON number'),
    ('{"a": Infinity}', 'Infinity is no JSON number'),
    ('{"a": -Infinity}', 'Infinity is no JSON number'),
    ('{"a": 1e999}', 'no finite number'),
    ('{"a": ' + '9' * 20 + '}', '20 digits'),
    ('{"a": ' + '9' * 19 + '}', '19 digits'),
    ('{"a": -' + '9' * 19 + '}', '19 digits'),
    ('{"a": 0.' + '1' * 70 + '}', 'no finite number'),
    ('{"a": 1,\n "a": 2}', "'a' occurs twice"),
    ('[' * 9 + ']' * 9, 'nested deeper than 8'),
    ('[' * 400_000, 'nested deeper than 8'),
    ('{"a":' * 100_000, 'nested deeper than 8'),
    ('{"a": 1}\n{', 'f.json:2: not JSON'),
    ('{"a": "' + 'x' * 1_000_000 + '"}', 'JSON may have 1000000'),
  ],
)
def test_json_that_costs_or_lies_is_refused(text, what):
  with pytest.raises(Refused, match=what) as error:
    safety.parse_document(text.encode(), 'f.json', DEFAULT)
  assert str(error.value).startswith('f.json:')
  assert len(str(error.value)) < 300


def test_depth_counts_brackets_outside_of_strings_only():
  text = json.dumps({'a': '[' * 50 + '\\"' + '{' * 50})
  assert safety.parse_document(text.encode(), 'f', DEFAULT)['a'][50:52] == '\\"'
  deepest = '[' * 8 + ']' * 8
  safety.parse_document(deepest.encode(), 'f', DEFAULT)


@pytest.mark.parametrize(
  'text',
  [
    '[' + '\\"' * 499_000,
    '"' + '\\' * 900_000,
    '"' * 999_999,
    '{' + ','.join(f'"{i}":0' for i in range(80_000)) + ',"79999":0}',
  ],
  ids=['escapes', 'backslashes', 'quotes', 'keys'],
)
def test_worst_megabyte_of_json_is_refused_in_linear_time(text):
  assert len(text) <= DEFAULT.json_bytes
  # This thread's time without collections: threads and objects that the tests
  # before have left behind are not what is measured.
  gc.disable()
  start = time.thread_time()
  try:
    with pytest.raises(Refused):
      safety.parse_document(text.encode(), 'f', DEFAULT)
    spent = time.thread_time() - start
  finally:
    gc.enable()
  assert spent < 1.0  # quadratic: minutes


def test_bytes_that_are_no_utf8_name_their_line():
  with pytest.raises(Refused, match='f:3: byte 0xFF is not UTF-8'):
    safety.decode(b'a\nb\n\xff', 'f', 1)


def test_lines_are_counted_and_measured():
  limits = Limits(line_bytes=5)
  assert safety.split_lines(b'a\nb', 'f', limits, 2) == [b'a', b'b']
  assert safety.split_lines(b'', 'f', limits, 2) == []
  with pytest.raises(Refused, match='f:3: 3 lines; at most 2'):
    safety.split_lines(b'a\nb\nc\n', 'f', limits, 2)
  with pytest.raises(Refused, match='f:2: line of 6 bytes'):
    safety.split_lines(b'a\n123456\n', 'f', limits, 2)


@pytest.mark.parametrize('start', '=+-@\t\r')
def test_cells_that_a_spreadsheet_would_run_get_a_quote(start):
  assert safety.spreadsheet_cell(f'{start}1') == f"'{start}1"
  assert safety.spreadsheet_cell(-1.5) == -1.5
  assert safety.spreadsheet_cell('a=1') == 'a=1'


@hypothesis.given(st.text())
def test_printable_is_one_visible_line_and_can_be_encoded(text):
  line = safety.printable(text)
  assert '\n' not in line and '\x1b' not in line and '\u202e' not in line
  line.encode()
  if text.isprintable():
    assert line == text


@hypothesis.given(st.text() | st.binary() | st.integers() | st.none())
def test_shown_values_are_short_ascii(value):
  text = safety.shown(value)
  assert text.isascii() and text.isprintable() and len(text) <= 63


JSON = st.recursive(
  st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(),
  lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
  max_leaves=8,
)


@hypothesis.given(JSON)
def test_plain_json_is_parsed_as_by_the_standard_library(value):
  text = json.dumps(value)
  depth = (
    max(0, *(text[:i].count('[') for i in range(len(text)))) if text else 0
  )
  hypothesis.assume(depth < 8 and text.count('{') < 8)
  assert safety.parse_document(text.encode(), 'f', DEFAULT) == value


@hypothesis.given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(data):
  try:
    document = safety.parse_document(data, 'f', DEFAULT)
  except Refused:
    return
  assert document is None or isinstance(
    document, bool | int | float | str | list | dict
  )
  assert not isinstance(document, float) or math.isfinite(document)
