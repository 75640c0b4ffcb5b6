"""Presets have as many parameters as their authors published."""

import numpy as np
import pytest

from glue_jax.models import model as models

# The encoder alone; some are rounded, in millions.
ENCODERS = {
  ('deberta_v2', 'v3_xsmall'): 70.7,
  ('deberta_v2', 'v3_base'): 183.8,
  ('deberta_v2', 'v3_large'): 434.0,
  ('deberta_v2', 'mdeberta_v3_base'): 278.2,
  ('deberta_v2', 'v2_xlarge'): 885.0,
  ('deberta_v2', 'v2_xxlarge'): 1566.0,
  ('xlm_roberta', 'base'): 278.0,
  ('xlm_roberta', 'large'): 560.0,
  ('distilbert', 'base'): 66.4,
  ('albert', 'base'): 11.7,
  ('albert', 'xxlarge'): 222.6,
  ('mpnet', 'base'): 109.5,
  ('modernbert', 'base'): 149.0,
  ('modernbert', 'large'): 395.0,
}
# With the head over the vocabulary, to a parameter.
DECODERS = {
  ('llama', 'smollm2_135m'): 134_515_008,
  ('llama', 'llama_2_7b'): 6_738_415_616,
  ('llama', 'llama_3_8b'): 8_030_261_248,
  ('llama', 'llama_3.2_1b'): 1_235_814_400,
  ('qwen2', '0.5b'): 494_032_768,
  ('qwen2', '7b'): 7_615_616_512,
  ('qwen3', '0.6b'): 596_049_920,
  ('gpt2', 'small'): 124_439_808,
  ('gpt2', 'xl'): 1_557_611_200,
  ('mpt', '7b'): 6_649_286_656,
  ('opt', '125m'): 125_239_296,
  ('opt', '350m'): 331_196_416,
  ('opt', '1.3b'): 1_315_758_080,
  ('opt', '6.7b'): 6_658_473_984,
  ('opt', '30b'): 29_974_540_288,
}
# Without BART's constant `final_logits_bias`, here `head/bias`.
BOTH = {
  ('bart', 'base'): 139_420_416,
  ('bart', 'large'): 406_291_456,
  ('t5', 'small'): 60_506_624,
  ('t5', 'base'): 222_903_552,
  ('t5', 'large'): 737_668_096,
  ('t5', '3b'): 2_851_598_336,
  ('t5', '11b'): 11_307_321_344,
  ('t5', 'v1_1_small'): 76_961_152,
  ('t5', 'v1_1_base'): 247_577_856,
  ('t5', 'v1_1_large'): 783_150_080,
  ('t5', 'v1_1_xl'): 2_849_757_184,
  ('t5', 'v1_1_xxl'): 11_135_332_352,
}
CASES = [
  (kind, *names, count)
  for kind, table in (
    ('encoder', ENCODERS), ('causal_lm', DECODERS), ('seq2seq_lm', BOTH),
  )
  for names, count in table.items()
]  # fmt: skip


def size(kind, family, preset, layers):
  """Parameters with so many layers, of each stack."""
  model = models.build(
    family, preset, kind=kind, num_layers=layers, per_layer=()
  )
  leaves = models.shapes(model)
  if kind == 'seq2seq_lm':
    leaves.pop('head/bias', None)
  return sum(int(np.prod(leaf.shape)) for leaf in leaves.values())


@pytest.mark.parametrize(('kind', 'family', 'preset', 'published'), CASES)
def test_published_sizes(kind, family, preset, published):
  """Every layer adds as much as the second one does."""
  layers = models.build(family, preset).config.num_layers
  if family == 'albert':  # whose layers are one
    layers = 1
  one, two = (size(kind, family, preset, n) for n in (1, 2))
  found = one + (layers - 1) * (two - one)
  if kind == 'encoder':
    assert found / 1e6 == pytest.approx(published, rel=0.01)
  else:
    assert found == published
