"""Fine-tuning pretrained weights on a GLUE task.

Command:  python -m launch.train --config=configs/glue.py:rte
            --config.data.data_dir=DIR --config.model.weights=WEIGHTS
            --workdir=runs/rte
DIR holds the tasks' folders (RTE/train.tsv ...) and may come from
GLUE_JAX_DATA; WEIGHTS is a Hugging Face folder with its tokenizer, of any
family of glue_jax/models: an encoder (all-MiniLM-L6-v2), a decoder or an
encoder-decoder; or a name of the hub, which is fetched
(google-bert/bert-base-uncased). It may come from GLUE_JAX_WEIGHTS.

Recipe: AdamW 5e-5, linear decay after 10 % warm-up, batch 32, length 128,
dropout 0.1, gradient norm 1, few epochs (a laptop's budget; BERT's paper uses
3), three seeds.
Hardware: 2 CPU cores.
Time:     minutes a seed, SST-2 three.
Expected: what `transformers` reaches with the same weights, rows and seeds
          (python -m launch.benchmark glue_peer).
Records:  glue-rte, glue-mrpc, glue-stsb, glue-cola, glue-sst2
"""

import os

import ml_collections

from configs import argument

# Epochs by task; all others take 3. SST-2 sees 20,000 of its training rows.
EPOCHS = {'cola': 2, 'sst2': 1, 'stsb': 2, 'mrpc': 2, 'rte': 2}


def get_config(task: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for a task of `glue_jax.data.tasks.by_name`."""
  task, _ = argument.parse(task)
  weights = os.environ.get('GLUE_JAX_WEIGHTS', '')
  return ml_collections.ConfigDict(
    dict(
      task=dict(name=task),
      data=dict(
        data_dir=os.environ.get('GLUE_JAX_DATA', ''),
        tokenizer='',  # that of the weights
        max_length=128,
        batch_size=32,
        eval_batch_size=64,
        buckets=(16, 32, 48, 64, 96, 128),
        train_limit=20_000 if task == 'sst2' else None,
        cache_dir='~/.cache/glue_jax/examples',
      ),
      # Where a sentence's class is read off one token, no other is computed.
      model=dict(weights=weights, stack='as_read'),
      optimizer=dict(lr=5e-5, warmup=0.1, weight_decay=0.01, clip_norm=1.0),
      train=dict(epochs=EPOCHS.get(task, 3)),
      seeds=(0, 1, 2),
    )
  )
