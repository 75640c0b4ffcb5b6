"""Models of one billion parameters and more, sharded over 16 devices.

Command:  python -m launch.train --config=configs/finetune/large.py:rte,t5_xxl
            --workdir=runs/t5_xxl
rte alone is DeBERTa-v2-XXLarge; further forms: llama_2_7b, t5_xxl, vega_1.3b,
vega_6b. Data and weights as in configs/glue.py; without weights the size is
that of the form, and the parameters are drawn. What a step takes of each
device, without any of them:
          python -m launch.benchmark plan
            --config=configs/finetune/large.py:rte,t5_xxl

Recipe: that of configs/glue.py at AdamW 3e-6, all rows; parameters, gradients
and optimizer over `fsdp`, bfloat16, blocks recomputed in the backward pass.
Vega's encoders aren't released. v1 (1.3B) has the blocks of DeBERTa-v2-XXLarge
(not confirmed). Of v2 only the 6B is known: 72 layers of width 2560 are ours.
Hardware: 16 accelerators (`--config.mesh.fsdp=8` for 8).
Time:     not known.
Expected: MNLI development accuracy of DeBERTa-v2-XXLarge 91.7 / 91.9 (He et al.
          2021, arXiv 2006.03654); GLUE test of Vega v1 91.3 and SuperGLUE test
          of Vega v2 91.3, both with far more than this recipe.
Measured: not run.
"""

import ml_collections

from configs import argument, glue

_DEBERTA = dict(name='deberta_v2', preset='v2_xxlarge')
SIZES = {
  '': _DEBERTA,
  'llama_2_7b': dict(name='llama', preset='llama_2_7b'),
  't5_xxl': dict(name='t5', preset='v1_1_xxl'),
  'vega_1.3b': _DEBERTA,
  'vega_6b': dict(
    name='deberta_v2',
    preset='v3_large',
    num_layers=72,
    hidden_size=2560,
    num_heads=40,
    intermediate_size=10_240,
  ),
}
FORMS = dict.fromkeys(SIZES)


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns configs/glue.py for a model that one device can't hold."""
  task, form = argument.parse(arg, FORMS)
  config = glue.get_config(task)
  config.data.train_limit = None
  if not config.model.weights:
    config.model.update(SIZES[form])
  config.model.update(dtype='bfloat16', remat=True)
  config.optimizer.lr = 3e-6
  config.mesh = dict(fsdp=16)
  return config
