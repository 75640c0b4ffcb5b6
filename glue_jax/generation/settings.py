"""How texts are written, and what is refused before any is."""

import dataclasses
from typing import Annotated, Any

from glue_jax.config.ranges import Count, Number, Positive, Range, checked
from glue_jax.plugs import decoded_field

Nucleus = Annotated[float, Range(gt=0, le=1)]


@checked
@dataclasses.dataclass(frozen=True)
class Settings:
  """How texts are written: greedily, unless it says otherwise.

  Attributes:
    max_new_tokens: T, the end token included.
    beams: hypotheses that a beam search keeps; 1 = no search.
    length_penalty: a hypothesis's log-probability is divided by its length to
      this power; positive favours long ones.
    sample: draw tokens instead of taking the likeliest.
    temperature: divides the logits (with `sample`).
    top_k: so many of the likeliest tokens are left to draw from.
    top_p: of those, the fewest whose probabilities make up as much.
    repetition_penalty: logits of tokens that the row has already, the prompt's
      included, are divided by it, negative ones times it (Keskar et al. 2019,
      arXiv 1909.05858, section 4.1).
  """

  max_new_tokens: Count = 64
  beams: Count = 1
  length_penalty: Number = 1.0
  sample: bool = False
  temperature: Positive = 1.0
  top_k: Count | None = None
  top_p: Nucleus = 1.0
  repetition_penalty: Positive = 1.0

  def __post_init__(self):
    drawing = dict(
      temperature=self.temperature, top_k=self.top_k, top_p=self.top_p
    )
    plain = dict(temperature=1.0, top_k=None, top_p=1.0)
    for name, value in drawing.items():
      if value != plain[name] and not self.sample:
        raise ValueError(
          f'{name}={value}: nothing is drawn; give sample=True, or leave it out'
        )
    if self.sample and self.beams > 1:
      raise ValueError(
        f'sample=True with beams={self.beams}: a beam search draws nothing; '
        'give one of them'
      )
    if self.length_penalty != 1.0 and self.beams == 1:
      raise ValueError(
        f'length_penalty={self.length_penalty} is of a beam search; give beams'
      )


def check(
  model: Any, settings: Settings, end_ids: tuple[int, ...], longest: int
) -> None:
  """Refuses what could not be written as asked, before any work.

  Args:
    model: the module.
    settings: how it shall write.
    end_ids: tokens that end a text.
    longest: of the prompts, in tokens.

  Raises:
    ValueError: an encoder, a head that isn't over the vocabulary, no end
      token, a beam wider than the vocabulary, or more tokens than positions.
  """
  field = decoded_field(model)
  kinds = ('causal_lm', 'seq2seq_lm')
  if model.kind not in kinds:
    raise ValueError(
      f'model.name={model.family!r} has the head {model.kind!r}, which writes '
      f'no text; expected one of {kinds}'
    )
  if not end_ids:
    raise ValueError(
      'the tokenizer has no end token, so no text would ever end; name one as '
      'eos_token in its tokenizer_config.json'
    )
  c = model.config
  if settings.beams > c.vocab_size:
    raise ValueError(
      f'beams={settings.beams} are more than the {c.vocab_size} tokens of the '
      'vocabulary; lower it'
    )
  limit = c.max_positions and c.max_positions - c.position_offset
  before = longest if field == 'input_ids' else 1
  if limit and before + settings.max_new_tokens > limit:
    what = f'prompts of up to {longest} tokens and ' * (field == 'input_ids')
    raise ValueError(
      f'{what}max_new_tokens={settings.max_new_tokens} exceed the {limit} '
      'positions of the model; lower data.max_length or max_new_tokens'
    )
  if limit and longest > limit:
    raise ValueError(
      f'prompts of up to {longest} tokens exceed the {limit} positions of the '
      'model; lower data.max_length'
    )
