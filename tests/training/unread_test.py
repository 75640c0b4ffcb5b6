"""Weights that are read, or drawn, leaf by leaf onto the devices."""

import json

from tests.conftest import run_on_devices

SCRIPT = """
import json, tempfile, weakref
import numpy as np
import jax
from glue_jax import tree
from glue_jax.models import model as models
from glue_jax.training import begin, session
from glue_jax.weights import huggingface, saved_model
from tests.conftest import tiny_config

mesh = dict(fsdp=4)
alive, most, bytes_read = [], 0, 0
convert = tree.Unread.__array__

def unaligned(value):
  # A CPU device would take an aligned array as it is, in place of a copy.
  room = np.empty(value.nbytes + 1, np.uint8)[1:]
  room = room.view(value.dtype).reshape(value.shape)
  room[...] = value
  return room

def counted(self, dtype=None, copy=None):
  global most, bytes_read
  value = unaligned(convert(self, dtype, copy))
  alive.append(weakref.ref(value))
  alive[:] = [ref for ref in alive if ref() is not None]
  most = max(most, sum(ref().nbytes for ref in alive))
  bytes_read += value.nbytes
  return value

tree.Unread.__array__ = counted

def first(**model):
  global most, bytes_read
  most = bytes_read = 0
  run = begin.begin(tiny_config(mesh=mesh, model=model), 0)
  leaves = {n: np.asarray(x) for n, x in tree.flatten(run.parts.params).items()}
  return run, leaves, most, bytes_read

drawn, leaves, *counts = first()
report = [dict(counts=counts, leaves={n: x.nbytes for n, x in leaves.items()})]
module = drawn.parts.plain.model
for i, form in enumerate(('hf', 'own')):
  folder = tempfile.mkdtemp()
  if form == 'hf':
    huggingface.save_hf(folder, module, leaves_tree := tree.unflatten(leaves),
                        drawn.parts.bundle.tokenizer)
  else:
    saved_model.save(folder, module, leaves_tree)
    drawn.parts.bundle.tokenizer.save(folder)
  sizes = dict.fromkeys(
    ('preset', 'num_layers', 'hidden_size', 'intermediate_size',
     'max_positions'))
  _, again, *counts = first(weights=folder, **sizes)
  same = all(np.array_equal(again[n], leaves[n]) for n in leaves)
  report.append(dict(counts=counts, same=same))

# What a run exports is gathered leaf by leaf as well.
state = drawn.host.state
params = session.exported(drawn.parts, state, unread=True)
kept = [type(x).__name__ for x in tree.flatten(params).values()]
most = bytes_read = 0
folder = tempfile.mkdtemp()
saved_model.save(folder, module, params)
_, again = saved_model.load(folder)
again = tree.flatten(again)
same = all(np.array_equal(again[n], leaves[n]) for n in leaves)
report.append(
  dict(counts=[most, bytes_read], same=same and set(kept) == {'Unread'})
)
print(json.dumps(report))
"""


def test_the_host_holds_one_leaf_at_a_time():
  drawn, *others = json.loads(run_on_devices(SCRIPT, 4).splitlines()[-1])
  sizes = drawn['leaves'].values()
  for report in (drawn, *others):
    most, total = report['counts']
    # A small one that was just placed may go a little later.
    assert 0 < most < 1.2 * max(sizes) < sum(sizes) / 2
    assert total > 0.9 * sum(sizes)
    assert report.get('same', True)
