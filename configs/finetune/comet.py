"""COMET-BERT (Ibrahim et al. 2023, arXiv 2306.02824) on a GLUE task.

A fine-tuned dense model's feed-forward parts become 4 experts by importance,
distilled layer by layer from that model; one decision tree as the gate.

Command:  python -m launch.train --config=configs/glue.py:mnli --workdir=TEACHER
          python -m launch.probe importance --workdir=TEACHER --seed=0
            --output=TEACHER/seed_0/importance.npz
          python -m launch.train --config=configs/finetune/comet.py:mnli
            --workdir=runs/comet_mnli
The argument is a task, and a form after a comma. GLUE_JAX_TEACHER names
TEACHER/seed_0; data as in configs/glue.py.

mnli: BERT-base by the official script for MNLI: lr 1e-5, batch 16, weight decay
1e-3, 25 epochs (50 for CoLA, RTE, MRPC), best checkpoint on the development
set, gamma 0.1, entropy weight 1, multiplied by the balance weight 0.1,
distillation weight 1, k = 1, FFN 3072 -> 4 x 768 with 512 shared, importance of
the training set (the script: of the development set). The tuning of the paper
(100 trials): lr 1e-5 .. 5e-5, batch 8 .. 64, weight decay 0 .. 0.1,
distillation 1 .. 5, gamma 0.01 .. 1, entropy 0.05 .. 10.
rte,small: MiniLM-L6 on 2,000 rows, two epochs. Its gate is COMET's; another of
`GATES` stands at the end: rte,small,topk.
Hardware: one accelerator; small: 2 CPU cores.
Time:     small: minutes.
Expected: not confirmed (the paper's tables were not at hand).
Measured: BERT-base: not run.
Records:  comet-rte-small, comet-mrpc-small, comet-sst2-small
"""

import os

import ml_collections

from configs import argument, glue

LONG = ('cola', 'rte', 'mrpc')
# Gate of the small form: its options, and the weights of what it captures.
GATES = {
  'comet': (dict(k=1, gamma=0.1), dict(entropy=0.1)),
  'topk': (dict(k=1), dict(balance=0.01)),
  'hash': ({}, {}),
}
FORMS = dict.fromkeys(('', 'small', *(f'small,{gate}' for gate in GATES)))


def get_config(arg: str = 'mnli') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task', 'task,small' or 'task,small,gate'."""
  task, form = argument.parse(arg, FORMS)
  if form:
    return small(task, form.partition(',')[2] or 'comet')
  config = student(task, gate='comet', gate_options=dict(k=1, gamma=0.1))
  config.data.update(batch_size=16, train_limit=None)
  config.optimizer.update(lr=1e-5, weight_decay=1e-3)
  config.train = dict(epochs=50 if task in LONG else 25, select='best')
  config.methods += (('comet', dict(entropy=0.1 * 1.0)),)
  return config


def small(task: str, gate: str) -> ml_collections.ConfigDict:
  """Returns MiniLM-L6's recipe, minutes of a laptop; `gate` of `GATES`.

  FFN 1536 -> 4 experts of 384, 256 of them shared: MoEBERT's proportions.
  """
  options, weights = GATES[gate]
  config = student(task, size=384, shared=256, gate=gate, gate_options=options)
  config.methods += (('comet', weights),)
  config.data.train_limit = 2000
  config.data.batch_size = 16
  config.data.buckets = (64, 128)
  config.train.epochs = 2
  config.seeds = (0,)
  return config


def student(
  task: str,
  *,
  size: int = 768,
  shared: int = 512,
  distillation: float = 1.0,
  **gate: object,
) -> ml_collections.ConfigDict:
  """Returns configs/glue.py with a student of 4 experts a layer.

  Args:
    task: of `glue_jax.data.tasks.by_name`.
    size: neurons of an expert.
    shared: neurons that every expert gets.
    distillation: weight.
    **gate: `gate` and `gate_options` of glue_jax/layers/ffn/experts.py.
  """
  teacher = os.environ.get('GLUE_JAX_TEACHER', '')
  config = glue.get_config(task)
  config.model = dict(
    weights=teacher,
    name='comet',
    fresh=(r'encoder/layer_\d+/ffn/.*',),
    ffn='experts',
    stack='plain',  # every position of the last layer is distilled
    # Padding counts in the gate's losses, as in the official code.
    options=dict(
      experts=dict(experts=4, size=size, count_padding=True, **gate)
    ),
  )
  config.methods = (
    (
      'moebert',
      dict(
        teacher=teacher,
        importance=os.path.join(teacher, 'importance.npz'),
        shared=shared,
        distillation=distillation,
      ),
    ),
  )
  return config
