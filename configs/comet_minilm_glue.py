"""COMET-BERT's recipe (arXiv 2306.02824) at MiniLM-L6's size, on a laptop.

FFN 1536 -> 4 experts of 384, 256 of them shared: MoEBERT's proportions.

Command:  python -m launch.train --config=configs/comet_minilm_glue.py:rte
            --workdir=runs/comet_rte
The argument is a task, or task_gate with a gate of `GATES`: rte_topk. Teacher,
importance and data as in configs/finetune/comet.py; the teacher is
configs/glue.py's. Measured (README, 'Mixers and experts'): accuracy
of COMET, Top-k, Hash: RTE 0.597, 0.590, 0.590; MRPC 0.809, 0.814, 0.809;
SST-2 0.839, 0.837, 0.830.
"""

import ml_collections

from configs.finetune import comet

# Gate: its options, and the weights of what it captures.
GATES = {
  'comet': (dict(k=1, gamma=0.1), dict(entropy=0.1)),
  'topk': (dict(k=1), dict(balance=0.01)),
  'hash': ({}, {}),
}


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task' or 'task_gate'."""
  task, _, gate = arg.partition('_')
  options, weights = GATES[gate or 'comet']
  config = comet.student(
    task, size=384, shared=256, gate=gate or 'comet', gate_options=options
  )
  config.methods += (('comet', weights),)
  # Minutes of a laptop; COMET's published run has 50 epochs of all rows.
  config.data.train_limit = 2000
  config.data.batch_size = 16
  config.data.buckets = (64, 128)
  config.train.epochs = 2
  config.seeds = (0,)
  return config
