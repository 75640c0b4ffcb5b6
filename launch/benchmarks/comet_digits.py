"""Gates of sparse experts on two-digit images: tuning budget against score.

scikit-learn's digits, two of them in one image of 8 x 12 (four columns overlap
and add up); the tasks are the left and the right digit. 8 experts of 96 -> 16
-> 16 shared by both tasks, a gate and a tower for each, k = 2 (Switch: 1).
Digits of the training, validation and test pairs are different images. Each
gate, with and without local search (+), is tuned by random search: learning
rate, entropy or balance weight, gamma, epochs of the search; every trial is run
with every seed. `curve.png`: expected test accuracy of the best trial by
validation loss among m drawn trials. The hash gate has nothing to hash here but
the number of an image: random routing.

  python -m launch.benchmark comet_digits --output=FOLDER

Gates that results.json has are not run again: the same command goes on.
"""

import json
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

from glue_jax.reporting import files
from launch.miniatures.parts import mixture

FLAGS = flags.FLAGS
EXPERTS, KEEP, BATCH, IDS = 8, 2, 128, 4096
GAMMAS, SEARCHES = (0.1, 1.0, 10.0), (1, 4)
# Gate: (its options, does it have a gamma, the term that is weighed).
GATES = {
  'comet': ({'k': KEEP}, True, 'entropy'),
  'dselectk': ({'k': KEEP}, True, 'entropy'),
  'topk': ({'k': KEEP}, False, 'balance'),
  'switch': ({}, False, 'balance'),
  'hash': ({'k': KEEP}, False, None),
  'soft': ({}, False, None),
}
# Range of the weight of a term, as powers of ten.
TERMS = {'entropy': (-3.0, 0.0), 'balance': (-4.0, -1.0)}


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  flags.DEFINE_string('output', None, 'Folder of results.json and curve.png.')
  flags.DEFINE_integer('trials', 12, 'Settings tried for each gate.')
  flags.DEFINE_integer('seeds', 5, 'Runs of each setting.')
  flags.DEFINE_integer('epochs', 15, 'Of 4000 pairs.')
  flags.DEFINE_list('gates', None, 'Which gates; all by default.')


def pairs(images: np.ndarray, labels: np.ndarray, rows: int, seed: int) -> dict:
  """Draws overlapped pairs: x (rows, 96), y (rows, 2), ids (rows,)."""
  rng = np.random.default_rng(seed)
  left, right = rng.integers(len(images), size=(2, rows))
  canvas = np.zeros((rows, 8, 12), np.float32)
  canvas[:, :, :8] += images[left]
  canvas[:, :, 4:] += images[right]
  return {
    'x': jnp.asarray(canvas.reshape(rows, -1) / 16),
    'ids': jnp.asarray(rng.integers(IDS, size=rows), jnp.int32),
    'y': jnp.asarray(np.stack([labels[left], labels[right]], axis=1)),
  }


def splits() -> tuple[dict, dict, dict]:
  """Training, validation and test pairs, of different digits' images."""
  from sklearn import datasets

  digits = datasets.load_digits()
  order = np.random.default_rng(0).permutation(len(digits.target))
  parts = np.split(order, [1000, 1400])
  return tuple(
    pairs(digits.images[part], digits.target[part], rows, seed)
    for seed, (part, rows) in enumerate(zip(parts, (4000, 1000, 1000)))
  )


def cross_entropy(outputs: jax.Array, y: jax.Array) -> jax.Array:
  """Sum over tasks, (B, tasks, 10) and (B, tasks) to (B,)."""
  return optax.softmax_cross_entropy_with_integer_labels(outputs, y).sum(-1)


def trials(gate: str, plus: bool, count: int) -> list[dict]:
  """Draws the settings of a gate; the same for every run of this command."""
  rng = np.random.default_rng([list(GATES).index(gate), plus])
  _, gamma, term = GATES[gate]
  drawn = []
  for i in range(count):
    setting = {'lr': 10 ** rng.uniform(-3, -1.5)}
    if term:
      setting[term] = 10 ** rng.uniform(*TERMS[term])
    # These fix the program, so they go round instead of being drawn.
    setting['gamma'] = GAMMAS[i % len(GAMMAS)] if gamma else None
    searches = SEARCHES[i // len(GAMMAS) % len(SEARCHES)]
    setting['search_epochs'] = searches if plus else 0
    drawn.append(setting)
  return drawn


def run(gate: str, plus: bool, data: tuple[dict, dict, dict]) -> list[dict]:
  """Trains every trial with every seed; one row a trial."""
  train, validation, test = data
  per_epoch = len(train['x']) // BATCH
  rows = trials(gate, plus, FLAGS.trials)
  programs = {}
  for row in rows:
    key = row['gamma'], row['search_epochs']
    programs.setdefault(key, []).append(row)
  for (gamma, search), group in programs.items():
    options = GATES[gate][0] | ({'gamma': gamma} if gamma else {})
    design = mixture.Design(
      EXPERTS, gate, tuple(options.items()), hidden=16, features=16,
      classes=10, tasks=2, ids=IDS, search_steps=search * per_epoch,
    )  # fmt: skip
    names = sorted(group[0].keys() - {'gamma', 'search_epochs'})
    repeated = [row for row in group for _ in range(FLAGS.seeds)]
    settings = {n: jnp.array([row[n] for row in repeated]) for n in names}
    settings['seed'] = jnp.tile(jnp.arange(FLAGS.seeds), len(group))
    evaluate = mixture.train(
      design, train, cross_entropy, settings,
      steps=FLAGS.epochs * per_epoch, batch_size=BATCH,
    )  # fmt: skip
    shape = len(group), FLAGS.seeds
    for split, part in (('validation', validation), ('test', test)):
      out, losses = evaluate(part)
      right = (out['outputs'].argmax(-1) == part['y']).mean((1, 2))
      few = (out['used'] <= KEEP).mean((1, 2))
      for name, values in (
        ('loss', losses.mean(-1)), ('accuracy', right), ('few', few),
      ):  # fmt: skip
        by_row = np.asarray(values).reshape(shape)
        for row, value in zip(group, by_row):
          row[f'{split}_{name}'] = value.tolist()
  return rows


def curve(rows: list[dict], draws: int = 1000) -> tuple[list, list]:
  """Expected test accuracy and loss of the best of m trials, m = 1, 2, ...

  The best is the one of least validation loss, for each seed by itself.
  """

  def column(name):
    return np.array([row[name] for row in rows])

  chosen = column('validation_loss')
  rng = np.random.default_rng(0)
  means = []
  for m in range(1, len(rows) + 1):
    orders = rng.permuted(np.tile(np.arange(len(rows)), (draws, 1)), axis=1)
    drawn = orders[:, :m]
    best = np.take_along_axis(
      drawn[..., None], chosen[drawn].argmin(1)[:, None], axis=1
    )[:, 0]
    seeds = np.arange(chosen.shape[1])
    means.append([
      float(column(f'test_{name}')[best, seeds].mean())
      for name in ('accuracy', 'loss')
    ])  # fmt: skip
  accuracy, loss = zip(*means)
  return list(accuracy), list(loss)


def best_of(rows: list[dict]) -> dict:
  """The trial of least mean validation loss, with its test figures."""
  row = min(rows, key=lambda row: np.mean(row['validation_loss']))
  summary = {}
  for name in ('test_accuracy', 'test_loss', 'test_few'):
    summary[name] = float(np.mean(row[name])), float(np.std(row[name]))
  return row | {'summary': summary}


def plot(results: dict[str, dict], path: pathlib.Path) -> None:
  """The curves, a colour for a gate, dashes without local search."""
  import matplotlib

  matplotlib.use('agg')
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(figsize=(7, 4.5), layout='constrained')
  for name, result in results.items():
    index = list(GATES).index(name.rstrip('+'))
    axes.plot(
      range(1, len(result['curve']) + 1), result['curve'], label=name,
      color=f'C{index}', linestyle='-' if name.endswith('+') else '--',
    )  # fmt: skip
  axes.set(
    xlabel='trials', ylabel='test accuracy of the best trial by validation',
    title='Two digits, two tasks: tuning budget',
  )  # fmt: skip
  axes.legend(ncols=2, fontsize='small')
  figure.savefig(path, dpi=150)


def main(argv: list[str]) -> None:
  """Tunes every gate, prints a row each, writes results and curve."""
  del argv
  wanted = FLAGS.gates or list(GATES)
  unknown = sorted(set(wanted) - set(GATES))
  if unknown or not FLAGS.output:
    raise app.UsageError(f'unknown gates {unknown}, or no --output')
  folder = pathlib.Path(FLAGS.output)
  folder.mkdir(parents=True, exist_ok=True)
  data = splits()
  path, results = folder / 'results.json', {}
  budget = {n: FLAGS[n].value for n in ('trials', 'seeds', 'epochs')}
  if path.is_file():
    record = json.loads(path.read_text())
    if record['budget'] != budget:
      raise app.UsageError(
        f'{path} was begun with {record["budget"]}, this run has {budget}; '
        'give another --output or the same flags'
      )
    results = record['gates']
  print('gate       accuracy         loss             share <= 2  seconds')
  for gate in wanted:
    for plus in (False, True):
      started = time.time()
      name = gate + '+' * plus
      if name not in results:
        rows = run(gate, plus, data)
        accuracy, loss = curve(rows)
        results[name] = {
          'curve': accuracy, 'loss_curve': loss, 'best': best_of(rows),
          'trials': rows,
        }  # fmt: skip
      figures = results[name]['best']['summary']

      def mean(key, f=figures):
        return f'{f[key][0]:.4f} ± {f[key][1]:.4f}'

      print(
        f'{name:10} {mean("test_accuracy"):16} {mean("test_loss"):16} '
        f'{figures["test_few"][0]:10.3f} {time.time() - started:8.0f}',
        flush=True,
      )
      record = {'budget': budget, 'gates': results}
      files.replace_text(path, json.dumps(record, indent=1) + '\n')
  plot(results, folder / 'curve.png')
