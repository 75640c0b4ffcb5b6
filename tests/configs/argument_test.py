"""The argument of config files: what it splits into, and what it refuses."""

import pytest

from configs import argument
from configs.finetune import (
  comet,
  deft,
  dylora,
  galore,
  hydra,
  lamda,
  lora,
  meft,
  ponet,
  slimfit,
)
from configs.suites import lepiszcze

FORMS = {'': None, 'small': None, 'small,topk': None, 'base': ('rte', 'mnli')}


@pytest.mark.parametrize(
  'arg, expected',
  [
    ('rte', ('rte', '')),
    ('rte,small', ('rte', 'small')),
    ('rte,small,topk', ('rte', 'small,topk')),
    ('mnli,base', ('mnli', 'base')),
    # A user's own task: any name, or a file whose path may hold commas.
    ('mine', ('mine', '')),
    ('mine,small', ('mine', 'small')),
    ('a,b/task.yaml', ('a,b/task.yaml', '')),
    # A task whose name has a form's word in it.
    ('own_small', ('own_small', '')),
  ],
)
def test_tasks_and_forms(arg, expected):
  assert argument.parse(arg, FORMS) == expected


@pytest.mark.parametrize(
  'arg, message',
  [
    ('', "'': expected TASK or TASK,FORM"),
    ('rte,topk', r'FORM is small \| small,topk \| base'),
    ('cola,base', "no task 'cola' in the form 'base'; expected .* rte, mnli"),
    ('base_rte', "'base_rte' is written 'rte,base' now"),
    ('rte_topk', "'rte_topk' is written 'rte,small,topk' now"),
  ],
)
def test_what_is_refused(arg, message):
  with pytest.raises(ValueError, match=message):
    argument.parse(arg, FORMS)


@pytest.mark.parametrize('recipe', [dylora, slimfit, hydra])
def test_settings_by_task_are_for_the_published_tasks(recipe):
  """An own task has the form of a laptop, where there is one."""
  for own in ('a,b/task.yaml', 'mine'):
    with pytest.raises(ValueError, match=f"no task '{own}'; .*mnli") as error:
      recipe.get_config(own)
    assert (f'any task: {own},small' in str(error.value)) == (
      'small' in recipe.FORMS
    )
  if 'small' in recipe.FORMS:
    assert recipe.get_config('a,b/task.yaml,small').task.name == 'a,b/task.yaml'


def test_a_file_without_forms_takes_one_word():
  assert argument.parse('base', {'': ('mini', 'base')}, 'size') == ('base', '')
  with pytest.raises(
    ValueError, match="no size 'huge'; expected .* mini, base"
  ):
    argument.parse('huge', {'': ('mini', 'base')}, 'size')
  with pytest.raises(ValueError, match="'rte,small': expected TASK alone"):
    argument.parse('rte,small')


def test_small_is_the_form_of_a_task_alone_where_no_other_is_published():
  for size in ('', ',small'):
    config = lora.get_config(f'rte{size}')
    assert config.methods == (('lora', dict(rank=8, alpha=8.0)),)


def test_forms_change_what_they_say():
  hashed = comet.get_config('rte,small,hash')
  assert hashed.model.options.experts.gate == 'hash'
  assert comet.get_config('rte,small').model.options.experts.gate == 'comet'
  (tuning, _), (_, loss) = deft.get_config('rte,small,prompt').methods
  assert tuning == 'prompt' and not loss['include_padding']
  assert 'include_padding' not in deft.get_config('rte,prompt').methods[1][1]
  assert galore.get_config('rte,small').optimizer.name == 'galore'
  natural = galore.get_config('rte,small,natural').optimizer
  assert natural.name == 'natural_galore' and natural.args.rank == 8
  assert lamda.get_config('rte').methods[0][1]['rank'] == 64
  assert lamda.get_config('rte,small').methods[0][1]['rank'] == 8
  assert meft.get_config('rte,small,plain').methods[0][0] == 'houlsby'
  variant = meft.get_config('rte,small,meft3').model.options.reversible.variant
  assert variant == 'meft3'
  assert ponet.get_config('imdb,small,512').model.max_positions == 512
  assert ponet.get_config('imdb').data.max_length == 4096
  assert 'methods' not in slimfit.get_config('rte,small,full')
  assert lepiszcze.get_config('cdsc_e,small').data.train_limit == 4000
  assert lepiszcze.space('cdsc_e,small') != lepiszcze.space('cdsc_e')
