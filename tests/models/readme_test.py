"""The page on families, against the families."""

import re

from glue_jax.data.tokenizers.families import FAMILIES
from glue_jax.models import model as models_lib
from tests.conftest import ROOT

PAGE = (ROOT / 'glue_jax/models/README.md').read_text()
ROWS = re.findall(
  r'^\| `(\w+)`: [^|]*\| (\w+) \| ([^|]*)\| ([^|]*)\| ([^|]*)\| ([^|]*)\|$',
  PAGE,
  re.MULTILINE,
)
OF_ALL = {
  'encoder', 'classification', 'regression', 'multiple_choice', 'span',
}  # fmt: skip
SHAPES = {'encoder': 'encoder', 'decoder': 'decoder', 'both': 'seq2seq'}


def quoted(cell):
  return re.findall(r'`([^`]+)`', cell)


def test_every_family_has_its_row():
  files = {path.stem for path in (ROOT / 'glue_jax/models').glob('*.py')}
  families = files - {'__init__', *models_lib.SHARED}
  assert {row[0] for row in ROWS} == families


def test_rows_say_what_the_families_have():
  golden = {path.stem for path in (ROOT / 'tests/golden').glob('[!_]*.py')}
  for name, stacks, heads, sizes, tokenizer, peers in ROWS:
    family = models_lib.family(name)
    assert getattr(family, 'SHAPE', 'encoder') == SHAPES[stacks], name
    assert {*quoted(heads)} | OF_ALL == set(family.HEADS), name
    assert quoted(sizes) == list(family.PRESETS), name
    assert set(quoted(tokenizer)) <= set(FAMILIES), name
    for peer in re.findall(r'[\w-]+', peers.replace('`', '')):
      file = peer.replace('-', '_')
      assert peer == 'transformers' or file in golden, (name, peer)
