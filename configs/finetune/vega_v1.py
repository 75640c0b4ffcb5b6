"""Vega v1's bag of tricks (Zhong et al. 2023, arXiv 2302.09268).

Command:  python -m launch.train --config=configs/finetune/vega_v1.py:rte
            --workdir=runs/vega_v1_rte
The whole list of stages: pre-training by replaced tokens, whose last tenth has
a contrastive term; MNLI, where it is the start of the task; three seeds that
label the test rows; three that learn the training rows and those. Then
          python -m launch.study ensemble --runs=runs/vega_v1_rte/finetune
            --tune=validation --split=test --out=runs/vega_v1_rte_ensemble
Further forms tune GLUE_JAX_WEIGHTS: rte,small in the stages after pre-training,
for a small encoder such as MiniLM-L6; with one trick alone rte,sift
(adversarial), rte,calibrated (own predictions) and rte,plain (none).
Data as in configs/glue.py, the corpus as in configs/pretrain/bert.py.

Published: the names of the tricks, 1.3B parameters, disentangled attention. The
recipe of each is not confirmed: size (48 layers of 1536, the blocks of
DeBERTa-v2-XXLarge), the phases' weights and lengths, the mix for each task and
all rates are ours; fine-tuning takes the table of DeBERTaV3-large's scripts,
SiFT the values of that code. Sharded over 16 devices.
Hardware: 16 accelerators of 16 GB or more; small: 2 CPU cores.
Time:     not known.
Expected: GLUE test average 91.3; RTE 92.4, SST-2 97.9 (leaderboard).
Measured: the whole list and the small form: not run.
Records:  miniature-vega-v1
"""

import ml_collections

from configs import argument, glue
from configs.finetune import debertav3
from configs.pretrain import bert

FORMS = {
  '': None,
  'plain': None,
  'sift': None,
  'calibrated': None,
  'small': None,
}
FROM_MNLI = ('rte', 'mrpc', 'stsb')
STEPS = 500_000  # of replaced tokens alone; not confirmed
SIFT = ('sift', dict(weight=5.0, eps=1e-4, sigma=1e-2))
CALIBRATED = ('self_calibration', dict(beta=0.3))
METHODS = {'plain': (), 'sift': (SIFT,), 'calibrated': (CALIBRATED,)}


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """The stages, or one trick alone."""
  task, form = argument.parse(arg, FORMS)
  if form in METHODS:
    config = glue.get_config(task)
    config.methods = METHODS[form]
    return config
  if form == 'small':
    return _staged(glue.get_config(task).to_dict(), {})
  pretrain = _pretraining()
  tuned = _large(task, 'stage:pretrain')
  stages = {'pretrain': pretrain}
  if task in FROM_MNLI:
    stages['mnli'] = _large('mnli', 'stage:pretrain') | dict(seeds=(0,))
    tuned = _large(task, 'stage:mnli')
  config = _staged(tuned, stages)
  config.mesh = dict(fsdp=16)
  return config


def _staged(tuned: dict, before: dict) -> ml_collections.ConfigDict:
  """Stages: what comes before, three that label, one that learns of them."""
  tuned['seeds'] = (0, 1, 2)
  splits = {'eval_splits': ('validation', 'test')}
  teach = tuned | dict(data=tuned['data'] | splits)
  pseudo = dict(models=('stage:label/*',), threshold=0.9, weight=0.5)
  learn = teach | dict(
    data=teach['data'] | dict(pseudo=pseudo), methods=(SIFT, CALIBRATED)
  )
  stages = before | {'label': teach, 'finetune': learn}
  return ml_collections.ConfigDict(dict(stages=tuple(stages.items())))


def _pretraining() -> dict:
  """Replaced tokens; in the last tenth beside a contrastive term.

  A linear decay over both phases leaves an eleventh of the rate's peak to the
  second one.
  """
  begins = dict(begins=STEPS, weight=1.0, temperature=0.05)
  return dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=bert.texts(batch_size=8192, max_length=512),
    model=dict(
      name='deberta_v2',
      preset='v2_xxlarge',
      head='replaced_tokens',
      dtype='bfloat16',
      remat=True,
    ),
    objective=dict(name='rtd'),
    methods=(('contrastive', begins),),
    optimizer=dict(
      lr=3e-4,
      warmup=10_000,
      weight_decay=0.01,
      clip_norm=1.0,
      args=dict(b2=0.98, eps=1e-6),
    ),  # fmt: skip
    train=dict(steps=STEPS + STEPS // 10, eval_every=10_000),
    seeds=(0,),
  )


def _large(task: str, weights: str) -> dict:
  """Fine-tuning of a stage's model by the table."""
  config = glue.get_config(task).to_dict()
  config['model'] = dict(
    weights=weights, fresh=('head/.*',), dtype='bfloat16', remat=True
  )
  config['data'] |= dict(tokenizer=weights, train_limit=None)
  for section, values in debertav3.changes(task, 'large').items():
    config[section] |= values
  return config
