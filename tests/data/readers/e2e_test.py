"""E2E NLG: its tokenized rows, and references of one source."""

import gzip

import pytest

from glue_jax.data import load
from glue_jax.data.readers import e2e
from glue_jax.data.tasks import by_name

TASK = by_name.get('e2e_nlg')
FIELDS = (
  '__start_name__ The Vaults __end_name__ __start_priceRange__ £ 20 - 25 '
  '__end_priceRange__ __start_customerrating__ 5 out of 5 '
  '__end_customerrating__ __start_near__ Café Adriatic __end_near__'
)
TEXT = "The Vaults , a well - known pub , isn 't cheap : £ 20 . <eos>|||0,2,0"


@pytest.fixture
def folder(tmp_path):
  """Tokenized rows for training, CSV for development."""
  place = tmp_path / 'e2e_nlg' / 'aligned_tokenised'
  place.mkdir(parents=True)
  for name, line in (('train', TEXT), ('src_train', FIELDS)):
    with gzip.open(place / f'{name}.txt.gz', 'wt') as file:
      file.write(f'{line}\n{line}\n')
  rows = ('"name[A], area[b]",One.', 'name[C],Two.', '"name[A], area[b]",3.')
  csv = place.parent / 'devset.csv'
  csv.write_text('\n'.join(('mr,ref', *rows)) + '\n')
  return tmp_path


def test_tokens_are_joined(folder):
  table = load.load(TASK, 'train', folder)
  assert len(table) == 2 and table.format == 'e2e_aligned'
  assert table.rows[0]['mr'] == (
    'name[The Vaults], priceRange[£20-25], customer rating[5 out of 5], '
    'near[Café Adriatic]'
  )
  assert table.rows[0]['label'] == (
    "The Vaults, a well-known pub, isn't cheap: £20."
  )


def test_only_blanks_between_tokens_go():
  assert e2e.joined("It 's 3 - 5 km , or ' near '") == (
    "It's 3-5 km, or ' near '"
  )


def test_rows_of_one_source_are_its_references(folder):
  table = load.load(TASK, 'validation', folder)
  assert [row['mr'] for row in table.rows] == ['name[A], area[b]', 'name[C]']
  assert [row['references'] for row in table.rows] == [['One.', '3.'], ['Two.']]
  assert list(table.labels()) == ['One.', 'Two.']
  assert [table.place(i).split(':')[-1] for i in range(2)] == ['2', '3']
  assert '3 rows' in table.notes[-1]  # as the file has them


@pytest.mark.parametrize(
  ('name', 'text', 'message'),
  [
    ('src_train', 'no fields\n', 'has 2 lines, src_train.txt.gz has 1'),
    ('src_train', f'{FIELDS}\nno fields\n', ':2: .*expected a text'),
    ('train', f'{TEXT}\nno end\n', ':2: .*expected a text'),
  ],
)
def test_what_is_not_so_is_named(folder, name, text, message):
  path = folder / 'e2e_nlg/aligned_tokenised' / f'{name}.txt.gz'
  path.write_bytes(gzip.compress(text.encode()))
  with pytest.raises(ValueError, match=message):
    load.load(TASK, 'train', folder)
