"""Tables of the tests, and the files and folders that hold them."""

import json

import pyarrow as pa
from pyarrow import feather, parquet

from glue_jax.data import load
from glue_jax.data.tasks import by_name

CLASSES = {'label': {'names': ['Yes', 'no'], '_type': 'ClassLabel'}}
YAML = """\
name: mine
dataset: {dataset}
columns: {{text: text}}
kind: classification
label_names: [no, yes]
"""
ROWS = {
  'text': ['Zażółć', 'b', 'c'],
  'label': [0, 1, 0],
  'id': ['x', 'y', '007'],
}


def table(columns=ROWS, features=None, **types):
  made = pa.table({n: pa.array(v, types.get(n)) for n, v in columns.items()})
  if features is None:
    return made
  # What `datasets` keeps in the schema of its files.
  kept = json.dumps({'info': {'features': features}})
  return made.replace_schema_metadata({'huggingface': kept})


def stream(path, made):
  with pa.ipc.new_stream(str(path), made.schema) as writer:
    writer.write_table(made)


def saved(folder, *parts):
  """A folder as `save_to_disk` leaves it."""
  folder.mkdir(parents=True)
  names = [f'data-{i:05}-of-{len(parts):05}.arrow' for i in range(len(parts))]
  for name, part in zip(names, parts):
    stream(folder / name, part)
  state = {'_data_files': [{'filename': name} for name in names]}
  (folder / 'state.json').write_text(json.dumps(state))


def own(folder, dataset, split='train', text=YAML, **given):
  (folder / 'task.yaml').write_text(text.format(dataset=dataset))
  task = by_name.make(str(folder / 'task.yaml'))
  if set(task.cuts) == {'validation'}:
    task = by_name.make(str(folder / 'task.yaml'), cuts={})
  return load.load(task, split, **given)


def found(table):
  columns = table.task.columns
  return [(*(r[c] for c in columns), r['label'], r['idx']) for r in table.rows]


def parquet_file(path, made):
  parquet.write_table(made, str(path))


def feather_file(path, made):
  feather.write_feather(made, str(path))
