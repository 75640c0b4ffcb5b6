"""Memory and messages of a sharded training step, for devices that aren't here.

  python -m launch.benchmark plan --config=configs/glue.py:rte
    --config.model.name=deberta_v2 --config.model.preset=v2_xxlarge
    --config.model.dtype=bfloat16 --config.mesh.fsdp=16

Neither data nor weights are read: the step is made of shapes alone and compiled
for a mesh of CPU devices (glue_jax/probes/plan.py). Printed are the model's
parameters, GB on one device as `launch.probe memory` has them, and GB that a
device receives in a step, by collective. A CPU's compiler keeps the attention
scores, which a kernel of an accelerator does not.
"""

import dataclasses
import json

from absl import flags

from launch.cli import config_flag

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this benchmark."""
  config_flag.define()
  flags.DEFINE_integer('devices', 16, 'CPU devices of the mesh.', lower_bound=1)
  flags.DEFINE_string('json', None, 'File for the figures, in bytes.')
  flags.mark_flag_as_required('config')


def main(argv: list[str]) -> None:
  """Compiles the step and prints what it takes."""
  del argv
  import jax

  jax.config.update('jax_platforms', 'cpu')
  jax.config.update('jax_num_cpu_devices', FLAGS.devices)
  from glue_jax.config import config
  from glue_jax.probes import plan
  from glue_jax.reporting import files, tables

  found = plan.of_config(config.complete(FLAGS.config))
  print(
    f'{found.parameters:,} parameters, {found.trained:,} of them learn; '
    f'one of {FLAGS.devices} devices:'
  )
  rows = [
    {'part': name, 'GB': size / 1e9}
    for part in (found.memory, found.sent)
    for name, size in part.items()
  ]
  print(tables.results_table(rows))
  if FLAGS.json:
    text = json.dumps(dataclasses.asdict(found), indent=2)
    files.replace_text(FLAGS.json, text + '\n')
