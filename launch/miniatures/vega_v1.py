"""Vega v1's adversarial fine-tuning against noisy labels and a disturbed input.

Sentences of 12 words out of 40: three places have one of five words of the
sentence's class, the others neutral ones. 64 training rows, a fifth of whose
labels are flipped, and 1,000 rows to test. The recipes of
configs/finetune/vega_v1.py, `plain`, `sift` and `calibrated`, at a small size,
trained by the usual loop: 2 layers of width 32, mean pooling, AdamW 1e-3,
30 epochs, batch 16. Model and width are tiny, so the start and the step of SiFT
are 0.1. Required of the means over the seeds: a Kullback-Leibler divergence of
clean from randomly disturbed predictions (normal, 0.1, on the normalised
embeddings) of the test rows at most 0.2 times that of plain fine-tuning, and an
accuracy that is not below it. Of self-calibration nothing is required: no gain
was measured.

With --workdir a run that was stopped goes on, and one that has ended is read.
"""

import json
import pathlib
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from configs.finetune import vega_v1 as recipe
from glue_jax.config import config as config_lib
from glue_jax.inference import open_run
from glue_jax.objectives import adversarial
from glue_jax.plugs import Apply
from glue_jax.training import runs
from glue_jax.weights import saved_model
from launch.miniatures.parts import verdict

FLAGS = flags.FLAGS
FORMS = ('plain', 'sift', 'calibrated')
WORDS, OWN, LINE, PLACES = 40, 5, 12, 3
TRAIN, TEST, FLIPPED = 64, 1000, 0.2
LENGTH, SIGMA = LINE + 2, 0.1
# A syllable each, so that one token each is what the tokenizer learns.
NAMES = [a + b for a in 'bcdfghjk' for b in 'aeiou']
TASK = """
name: classes
dataset: jsonl:.
columns: {text: text}
kind: classification
label_names: [first, second]
splits: {train: train, validation: test}
"""


def define_flags() -> None:
  """The flags of this miniature."""
  flags.DEFINE_integer('seeds', 5, 'Runs of each form.', lower_bound=1)
  flags.DEFINE_integer('epochs', 30, 'Of each run.', lower_bound=2)
  flags.DEFINE_string('workdir', None, 'Folder kept; default: a temporary one.')


def main(argv: list[str]) -> bool:
  """Prints the table; returns whether the required figures were reached."""
  del argv
  with tempfile.TemporaryDirectory() as folder:
    return compared(pathlib.Path(FLAGS.workdir or folder))


def compared(folder: pathlib.Path) -> bool:
  """Trains, prints and judges.

  Args:
    folder: of texts and runs.
  """
  found = {
    form: np.array([run(folder, form, seed) for seed in range(FLAGS.seeds)])
    for form in FORMS
  }
  for form, values in found.items():
    accuracy, apart = values.mean(0)
    print(f'{form:<10} accuracy {accuracy:.4f}  KL {apart:.5f}  by seed',
          *(f'{a:.3f}/{k:.5f}' for a, k in values))  # fmt: skip
  plain, sift = (found[form].mean(0) for form in ('plain', 'sift'))
  print(f'ratio {sift[1] / plain[1]:.3f} gain {sift[0] - plain[0]:.4f}')
  return verdict.say(
    verdict.Bound('KL of sift over plain', sift[1] / plain[1], '<=', 0.2),
    verdict.Bound('accuracy gained by sift', sift[0] - plain[0], '>=', 0),
  )


def run(folder: pathlib.Path, form: str, seed: int) -> tuple[float, float]:
  """Trains one run; returns its accuracy and divergence on the test rows."""
  texts = folder / f'texts_{seed}'
  write(texts, seed)
  workdir = folder / f'{form}_{seed}'
  runs.run(config(texts / 'task.yaml', form, seed), workdir)
  result = json.loads((workdir / 'result.json').read_text())
  accuracy = result['metrics']['validation']['accuracy']
  return accuracy, disturbed(workdir)


def write(folder: pathlib.Path, seed: int) -> None:
  """Writes the task and its rows."""
  rng = np.random.default_rng(seed)
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'task.yaml').write_text(TASK)
  for split, count, flipped in (('train', TRAIN, FLIPPED), ('test', TEST, 0)):
    labels = np.arange(count) % 2
    words = rng.integers(2 * OWN, WORDS, (count, LINE))
    for row, label in zip(words, labels):
      places = rng.choice(LINE, PLACES, replace=False)
      row[places] = label * OWN + rng.integers(0, OWN, PLACES)
    wrong = rng.permutation(count) < round(flipped * count)
    names = np.array(['first', 'second'])[np.where(wrong, 1 - labels, labels)]
    lines = [
      json.dumps({'text': ' '.join(NAMES[i] for i in row), 'label': str(name)})
      for row, name in zip(words, names)
    ]
    (folder / f'{split}.jsonl').write_text('\n'.join(lines) + '\n')


def config(task: pathlib.Path, form: str, seed: int) -> Any:
  """A form of the recipe at the miniature's size."""
  given = recipe.get_config(f'{task},{form}')
  methods = [
    (
      name,
      arguments | ({'eps': SIGMA, 'sigma': SIGMA} if name == 'sift' else {}),
    )
    for name, arguments in config_lib.plain(given.methods)
  ]
  changes = dict(
    data=dict(
      data_dir='',
      tokenizer='train',
      vocab_size=200,
      max_length=LENGTH,
      buckets=(LENGTH,),
      batch_size=16,
      eval_batch_size=TEST,
      cache_dir=None,
    ),
    model=dict(
      weights='',
      name='bert',
      preset='tiny',
      stack='plain',
      pooler='mean',
      hidden_size=32,
      num_heads=2,
      intermediate_size=64,
      max_positions=LENGTH,
    ),
    methods=methods,
    optimizer=dict(lr=1e-3, schedule='constant', warmup=0),
    train=dict(epochs=FLAGS.epochs, eval_every=FLAGS.epochs * (TRAIN // 16)),
    seeds=(seed,),
  )
  return config_lib.override(given, changes)


def disturbed(workdir: pathlib.Path) -> float:
  """Mean KL(clean || disturbed) of the test rows."""
  module, params = saved_model.load(workdir)
  batch = open_run.open_run(workdir, splits=('validation',)).bundle.evals[
    'validation'
  ][0]
  apply = Apply(module, plugs=(adversarial.PLUG,))
  outputs = apply(params, batch)
  x = outputs['captured'][f'{adversarial.PLACE}/{adversarial.NAME}']
  noise = SIGMA * jax.random.normal(jax.random.key(0), x.shape)
  moved = apply.replace(extra={adversarial.NAME: x + noise})(params, batch)
  clean, other = (jax.nn.log_softmax(o['logits']) for o in (outputs, moved))
  return float((jnp.exp(clean) * (clean - other)).sum(-1).mean())
