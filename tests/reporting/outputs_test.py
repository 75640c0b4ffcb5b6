"""An output never takes the place of a source."""

import pytest

from glue_jax.reporting import outputs
from launch import bundle, export, merge, predict, submit
from tests.commands import status


def test_what_is_read_is_not_written_over(tmp_path):
  run, texts = tmp_path / 'run', tmp_path / 'texts.csv'
  (run / 'model').mkdir(parents=True)
  for file in (run / 'config.json', run / 'model' / 'config.json', texts):
    file.write_text('x')
  (tmp_path / 'link').symlink_to(texts)
  for out in (run, run / 'model', run / 'model' / 'hf'):
    with pytest.raises(ValueError, match='which is read; expected another'):
      outputs.refuse(out, outputs.of_folder(run))
  for out in (texts, tmp_path / 'link', tmp_path / 'run' / '..' / 'texts.csv'):
    with pytest.raises(ValueError, match='which is read; expected another'):
      outputs.refuse(out, [texts])
  outputs.refuse(run / 'hf', outputs.of_folder(run))
  outputs.refuse(tmp_path / 'other.csv', [texts, tmp_path / 'none'])
  outputs.refuse('-', ['-'])


def test_commands_refuse_before_work(tmp_path, capsys):
  texts, run = tmp_path / 'texts.csv', tmp_path / 'run'
  run.mkdir()
  (run / 'config.json').write_text('{}')
  texts.write_text('sentence\na\n')
  (tmp_path / 'link').symlink_to(texts)
  for command, *arguments in (
    (predict, f'--workdir={run}', f'--input={texts}', f'--output={texts}'),
    (
      *(predict, f'--workdir={run}', f'--input={texts}'),
      f'--output={tmp_path / "link"}',
    ),
    (bundle, 'predict', f'--bundle={run}', '--backbone=x')
    + (f'--input={texts}', f'--out={texts}'),
    (bundle, 'to_peft', f'--bundle={run}', f'--out={run}'),
    (export, f'--workdir={run}', f'--output={run}'),
    (merge, f'--models={run}', '--method=average', f'--out={run}'),
    (submit, '--benchmark=glue', f'--predictions=A.tsv={texts}')
    + (f'--output={texts}',),
  ):
    options = {'arguments': True} if command is bundle else {}
    status(command, *arguments, **options)
    assert 'which is read; expected another' in capsys.readouterr().err
    assert texts.read_text() == 'sentence\na\n'
    assert (run / 'config.json').read_text() == '{}'
