"""The baseline methods against vectors of the libraries they come from."""

from tests.golden import __main__ as golden


def test_own_files_are_green(capsys):
  assert golden.check_slug(golden.OWN, 'peft-baselines')
  *rows, _ = capsys.readouterr().out.splitlines()
  assert {'adapter_blocks', 'tiny_bert'} <= {
    row.split('/')[1].rpartition('_')[0].removesuffix('_h8') for row in rows
  }
