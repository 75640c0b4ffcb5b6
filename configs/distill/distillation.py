"""Logit distillation (Hinton et al. 2015, arXiv 1503.02531) on a GLUE task.

Command:  python -m launch.train --config=configs/distill/distillation.py:rte
            --workdir=runs/distillation_rte
Data and weights as in configs/glue.py: the teacher is fine-tuned from them,
the student is a BERT-mini from scratch with the teacher's vocabulary.

Hardware: 2 CPU cores.
Time:     not known.
Expected: nothing is published for GLUE; the paper distils digits and speech.
Measured: not run.
"""

import ml_collections

from configs import glue


def get_config(task: str = 'rte') -> ml_collections.ConfigDict:
  """Two stages, teacher and student."""
  config = glue.get_config(task)
  config.seeds = (0,)
  student = dict(
    data=dict(tokenizer='stage:teacher'),
    model=dict(name='bert', preset='mini', weights=None, stack=None),
    methods=(
      (
        'distillation',
        dict(teacher='stage:teacher', alpha=0.5, temperature=2.0),
      ),
    ),
    optimizer=dict(lr=2e-4),
  )
  config.stages = (('teacher', {}), ('student', student))
  return config
