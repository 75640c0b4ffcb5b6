"""Texts against `transformers`; padding, cache, ends, keys, programs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from glue_jax import tree
from glue_jax.generation import generate, next_token, prompt
from glue_jax.generation.settings import Settings, check
from glue_jax.models import model as models
from glue_jax.peft import lora
from glue_jax.plugs import Apply
from tests import quick
from tests.models import decoders_test, seq2seq_test

NEW = 7
LENGTHS = (6, 3, 1)
# Two ends, so that some rows of random models do end.
ENDS = (2, 11)
CASES = ('llama', 'qwen2, windows', 'qwen3', 'gpt2', 'mpt', 'bart', 't5 1.0')


@functools.cache
def pair(case, folder):
  """The library's random model, and ours with its weights."""
  home = decoders_test if case in decoders_test.CASES else seq2seq_test
  peer = home.theirs(case)
  peer.save_pretrained(folder)
  kind = 'causal_lm' if home is decoders_test else 'seq2seq_lm'
  model, params = decoders_test.opened(folder, kind)
  return peer, Apply(model), params


@pytest.fixture(scope='module', params=CASES)
def both(request, tmp_path_factory):
  return pair(request.param, tmp_path_factory.mktemp('weights'))


def prompts(side='left', lengths=LENGTHS):
  rng = np.random.default_rng(3)
  width = max(lengths)
  ids = np.ones((len(lengths), width), np.int32)
  mask = np.zeros_like(ids)
  for row, length in enumerate(lengths):
    real = slice(width - length, None) if side == 'left' else slice(0, length)
    ids[row, real] = rng.integers(12, 53, length)
    mask[row, real] = 1
  return {'input_ids': ids, 'attention_mask': mask}


def writer(apply, **settings):
  run = functools.partial(
    generate.generate,
    apply,
    settings=Settings(**dict(max_new_tokens=NEW) | settings),
    end_ids=ENDS,
    pad_id=0,
  )
  return quick.jit(run)


def their_tokens(peer, batch, **settings):
  """The new tokens, after the prompt or the decoder's first token."""
  seq2seq = peer.config.is_encoder_decoder
  inputs = {key: torch.tensor(x).long() for key, x in batch.items()}
  with torch.no_grad():
    found = peer.generate(
      **inputs,
      max_new_tokens=NEW,
      eos_token_id=list(ENDS),
      pad_token_id=0,
      forced_bos_token_id=None,
      forced_eos_token_id=None,
      do_sample=False,
      **settings,
    ).numpy()
  found = found[:, 1 if seq2seq else batch['input_ids'].shape[1] :]
  found = np.pad(found, ((0, 0), (0, NEW - found.shape[1])))
  # Its beams take a padding id of 0 for none, and fill up with an end token.
  return np.where(after_an_end(found), 0, found)


def after_an_end(tokens):
  ends = np.isin(tokens, ENDS)
  return np.cumsum(ends, 1) - ends > 0


@pytest.mark.parametrize('search', ['greedy', 'beams'])
def test_tokens_are_the_librarys(both, search):
  peer, apply, params = both
  batch, ours, theirs = prompts(), {}, {}
  if search == 'beams':
    ours = dict(beams=3, length_penalty=1.7, repetition_penalty=1.3)
    theirs = dict(num_beams=3, length_penalty=1.7, repetition_penalty=1.3)
    # There, padding counts among the tokens that a row has.
    batch = prompts(lengths=(4, 4, 4))
  found = np.asarray(writer(apply, **ours)(params, batch))
  np.testing.assert_array_equal(found, their_tokens(peer, batch, **theirs))
  assert not found[after_an_end(found)].any()


def test_a_cache_gives_what_the_whole_forward_gives(both):
  """With padding on the left, and a prompt in two pieces."""
  _, apply, params = both
  batch = prompts()
  given = batch
  if apply.model.shape == 'seq2seq':
    own = {f'decoder_{name}': x for name, x in prompts().items()}
    batch, given = {**batch, **own}, own

  def run(params):
    cache, found = apply.init_cache(params, batch, 8), []
    for low, high in ((0, 4), (4, 5), (5, 6)):
      piece = {name: x[:, low:high] for name, x in given.items()}
      if not low:
        piece = {**batch, **piece}
      outputs, cache = apply.decode(params, cache, piece)
      found.append(outputs['logits'])
    return jnp.concatenate(found, 1), apply(params, batch)['logits']

  found, whole = quick.jit(run)(params)
  real = prompts()['attention_mask'] == 1
  np.testing.assert_allclose(found[real], whole[real], atol=1e-5)


@pytest.fixture(scope='module')
def small():
  model = models.build(
    'llama', 'tiny', kind='causal_lm', vocab_size=53, num_layers=1,
    hidden_size=16, intermediate_size=16, max_positions=20, init_range=0.3,
  )  # fmt: skip
  apply = Apply(model)
  return apply, apply.init(jax.random.key(0), prompts())


def test_padding_changes_nothing(small):
  """Tokens, and the logits that they are chosen by, to 1e-5."""
  apply, params = small
  write = writer(apply)
  left, right = (write(params, prompts(side)) for side in ('left', 'right'))
  np.testing.assert_array_equal(left, right)

  @quick.jit
  def logits(batch):
    return prompt.begin(apply, params, batch, Settings(), 0).logits

  alone = {name: x[1:2, -LENGTHS[1] :] for name, x in prompts().items()}
  whole, found = logits(prompts()), logits(alone)
  np.testing.assert_allclose(whole[1], found[0], atol=1e-5)


def test_plugs_act_on_every_token(small):
  """Texts of a model with LoRA are those of its merged weights."""
  apply, params = small
  pattern = r'decoder/layer_\d+/mixer/(query|value)'
  plugged = apply.replace(plugs=(lora.plug(pattern, 2, 4.0),))
  flat = tree.flatten(plugged.init(jax.random.key(1), prompts()))
  merged = tree.flatten(params)
  for name, value in merged.items():
    flat[name] = value
  for name in [n for n in flat if n.endswith('lora_b')]:
    home = name.removesuffix('/lora_b')
    flat[name] = jax.random.normal(jax.random.key(2), flat[name].shape)
    update = flat[f'{home}/lora_a'] @ flat[name]
    merged[f'{home}/kernel'] = merged[f'{home}/kernel'] + 4 * update
  found = writer(plugged)(tree.unflatten(flat), prompts())
  plain = writer(apply)
  expected = plain(tree.unflatten(merged), prompts())
  np.testing.assert_array_equal(found, expected)
  assert (np.asarray(plain(params, prompts())) != expected).any()


def test_draws_depend_on_the_key_and_the_row_alone(small):
  apply, params = small
  write = writer(apply, sample=True, temperature=2.0, max_new_tokens=9)
  batch = prompts() | {'idx': np.array([4, 0, 7])}
  first = np.asarray(write(params, batch, jax.random.key(5)))
  turned = {name: x[::-1] for name, x in batch.items()}
  again = write(params, turned, jax.random.key(5))
  np.testing.assert_array_equal(first, np.asarray(again)[::-1])
  assert (np.asarray(write(params, batch, jax.random.key(6))) != first).any()


def test_one_program_for_each_bucket(small):
  apply, params = small
  write = writer(apply)
  for lengths in ((6, 3), (2, 6), (4, 4), (4, 1), (6, 6)):
    write(params, prompts(lengths=lengths))
  assert write._cache_size() == 2


@pytest.mark.parametrize(
  ('ours', 'theirs'),
  [
    (dict(temperature=0.7), [('TemperatureLogitsWarper', (0.7,))]),
    (dict(top_k=5), [('TopKLogitsWarper', (5,))]),
    (dict(top_p=0.6), [('TopPLogitsWarper', (0.6,))]),
    (
      dict(temperature=1.9, top_k=20, top_p=0.8, repetition_penalty=1.6),
      [
        ('RepetitionPenaltyLogitsProcessor', (1.6,)),
        ('TemperatureLogitsWarper', (1.9,)),
        ('TopKLogitsWarper', (20,)),
        ('TopPLogitsWarper', (0.8,)),
      ],
    ),
  ],
)
def test_tokens_are_drawn_from_the_librarys_distribution(ours, theirs):
  rng = np.random.default_rng(0)
  ids = rng.integers(0, 40, (3, 8))
  logits = 3 * rng.standard_normal((3, 40)).astype(np.float32)
  settings = Settings(sample=True, **ours)
  seen = next_token.taken(jnp.asarray(ids), jnp.ones_like(ids, bool), 40)
  mine = next_token.repelled(logits, seen, settings.repetition_penalty)
  mine = jax.nn.softmax(next_token.warped(mine, settings))
  scores = torch.tensor(logits)
  for name, arguments in theirs:
    scores = getattr(transformers, name)(*arguments)(torch.tensor(ids), scores)
  expected = torch.softmax(scores, -1).numpy()
  np.testing.assert_allclose(mine, expected, atol=1e-6)


@pytest.mark.parametrize(
  ('family', 'kind', 'settings', 'ends', 'longest', 'words'),
  [
    ('bert', 'encoder', {}, (2,), 4, "'bert' is an encoder"),
    ('llama', 'encoder', {}, (2,), 4, "head 'encoder', which writes no text"),
    ('llama', 'causal_lm', {}, (), 4, 'tokenizer has no end token'),
    ('llama', 'causal_lm', dict(beams=54), (2,), 4, 'beams=54 are more than'),
    ('llama', 'causal_lm', {}, (2,), 449, 'max_new_tokens=64 exceed the 512'),
    ('bart', 'seq2seq_lm', {}, (2,), 513, 'of up to 513 tokens exceed the 512'),
    (
      'bart', 'seq2seq_lm', dict(max_new_tokens=512), (2,), 9,
      'max_new_tokens=512 exceed the 512',
    ),
  ],
)  # fmt: skip
def test_what_could_not_be_written_is_refused(
  family, kind, settings, ends, longest, words
):
  model = models.build(family, 'tiny', kind=kind, vocab_size=53)
  with pytest.raises(ValueError) as error:
    check(model, Settings(**settings), ends, longest)
  assert words in str(error.value)


@pytest.mark.parametrize(
  ('settings', 'words'),
  [
    (dict(top_k=3), 'top_k=3: nothing is drawn; give sample=True'),
    (dict(sample=True, beams=2), 'a beam search draws nothing'),
    (dict(length_penalty=2.0), 'give beams'),
    (dict(top_p=1.5, sample=True), 'top_p=1.5'),
  ],
)
def test_settings_that_do_not_go_together(settings, words):
  with pytest.raises(ValueError) as error:
    Settings(**settings)
  assert words in str(error.value)


def test_a_cache_refuses_what_it_has_no_room_for(small):
  apply, params = small
  batch = prompts()
  with pytest.raises(ValueError, match='length 5 is too short for inputs of'):
    apply.init_cache(params, batch, 5)
  cache = apply.init_cache(params, batch, 8)
  _, cache = quick.jit(apply.decode)(params, cache, batch)
  with pytest.raises(ValueError, match='room for 8 tokens and holds 6; 6 more'):
    apply.decode(params, cache, batch)
  mixed = models.build('llama', 'tiny', kind='causal_lm', mixer='identity')
  with pytest.raises(ValueError, match='0 of 2 layers keep a cache'):
    Apply(mixed).init_cache(Apply(mixed).shapes(batch), batch, 8)
