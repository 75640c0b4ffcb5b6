"""The argument of a config file: a task, or a task and a form of the method.

`configs/finetune/comet.py:rte,small,topk` is the task `rte` in the form
`small,topk`; `configs/finetune/comet.py:rte` is the task in the form '', the
one that the file's header tells about first. `small` is the form of a laptop.
A file with forms lists them in `FORMS`: {form: the tasks it has, None = any}.
"""

import re
from collections.abc import Collection, Mapping

from glue_jax.data.tasks import by_name

Forms = Mapping[str, Collection[str] | None]

# A file whose recipe has one form, for any task.
ONE_FORM: Forms = {'': None}


def parse(
  arg: str, forms: Forms = ONE_FORM, first: str = 'task'
) -> tuple[str, str]:
  """Splits 'task,form' and checks both.

  Args:
    arg: what stands after the colon of `--config=FILE:ARGUMENT`.
    forms: {form: tasks}, '' is the form of a task alone, None is any task: a
      name of `glue_jax.data.tasks.by_name`, a YAML file, or an own name whose
      record the command line completes.
    first: what the first word is called in messages.

  Returns:
    (task, form).

  Raises:
    ValueError: a form or task that the file doesn't have; lists those it has.
  """
  task, form = split(arg)
  now = _spelling(arg, forms)
  if now:
    raise ValueError(f'{arg!r} is written {now!r} now')
  if not task or form not in forms:
    raise ValueError(f'{arg!r}: expected {_usage(forms, first)}')
  tasks = forms[form]
  if tasks is not None and task not in tasks:
    where = f' in the form {form!r}' if form else ''
    wide = [f'{task},{form}' for form in forms if form and forms[form] is None]
    way_out = f'; for any {first}: {" | ".join(wide)}' if wide else ''
    raise ValueError(
      f'no {first} {task!r}{where}; expected one of {", ".join(tasks)}{way_out}'
    )
  return task, form


def split(arg: str) -> tuple[str, str]:
  """Splits 'task,form'; the path of an own file may hold commas."""
  file = re.match(r'.*\.ya?ml(?=,|$)', arg)
  task = file.group() if file else arg.partition(',')[0]
  return task, arg[len(task) + 1 :]


def _usage(forms: Forms, first: str) -> str:
  """Returns 'TASK or TASK,FORM, where FORM is one of ...'."""
  word = first.upper()
  further = [form for form in forms if form]
  if not further:
    return f'{word} alone'
  return f'{word} or {word},FORM, where FORM is {" | ".join(further)}'


def _spelling(arg: str, forms: Forms) -> str:
  """Returns how 'base_rte' or 'rte_topk' is written now, '' if it is neither.

  Both were accepted by the first layout of configs/; to be dropped with the
  table of moved files.
  """
  if arg in by_name.TASKS:
    return ''
  head, _, tail = arg.partition('_')
  front, _, last = arg.rpartition('_')
  for task, word in ((tail, head), (front, last)):
    if task in by_name.TASKS:
      for form in sorted(forms, key=len):
        if word in form.split(','):
          return f'{task},{form}'
  return ''
