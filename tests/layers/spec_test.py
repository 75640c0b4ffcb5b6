"""Slots and configs: what is refused, and that the message helps."""

import dataclasses

import pytest

from glue_jax.layers import activations, spec
from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import deberta_v2
from glue_jax.models import model as models


@pytest.mark.parametrize(
  'slot,there', [('mixer', 'attention'), ('ffn', 'feedforward'),
                 ('stack', 'plain')]
)  # fmt: skip
def test_a_slot_without_its_file_lists_those_there_are(slot, there):
  assert spec.part(slot, there)
  # `norm` is a file, but fills no slot.
  for name in ('nope', 'norm'):
    with pytest.raises(ValueError, match=f"no file .*{name}.py.*'{there}'"):
      spec.part(slot, name)


def test_an_unread_option_is_an_error():
  config = EncoderConfig(options=spec.freeze({'fourier': {'speed': 3}}))
  with pytest.raises(ValueError, match=r"nothing reads \['speed'\]"):
    spec.make('mixer', 'fourier', config)


def test_options_are_added_to_those_of_the_sizes_part_by_part():
  sizes = deberta_v2.PRESETS['v3_base']
  given = dict(dict(sizes.options)['disentangled'])
  module = models.build(
    'deberta_v2',
    'v3_base',
    options={'disentangled': {'share_key': False}, 'fourier': {}},
  )
  ours = dict(module.config.options)
  assert dict(ours['disentangled']) == given | {'share_key': False}
  assert ours['fourier'] == ()
  others = dict(sizes.options).keys() - {'disentangled'}
  assert all(ours[name] == dict(sizes.options)[name] for name in others)


def test_one_name_for_each_layer():
  config = EncoderConfig(num_layers=2, mixer=('fourier', 'attention'))
  assert config.names('mixer') == ('fourier', 'attention')
  assert config.names('ffn') == ('feedforward', 'feedforward')
  with pytest.raises(ValueError, match='2 names for 3 layers'):
    dataclasses.replace(config, num_layers=3)


def test_only_lengths_that_the_encoder_is_right_on():
  plain = EncoderConfig(max_positions=64)
  assert not plain.fixed_length
  plain.check_lengths((16, 32, 64))
  with pytest.raises(ValueError, match='length 65 exceed the 64 positions'):
    plain.check_lengths((16, 65))
  mixed = EncoderConfig(num_layers=2, mixer=('fourier', 'attention'))
  assert mixed.fixed_length
  mixed.check_lengths((32, 32))
  with pytest.raises(ValueError, match='padding changes the result'):
    mixed.check_lengths((16, 32))


def test_unknown_types_and_activations_are_errors():
  with pytest.raises(ValueError, match='float16'):
    EncoderConfig(dtype='float16')
  with pytest.raises(ValueError, match="'gelu_tanh'"):
    activations.activation('gelly')


def test_frozen_values_hash():
  value = spec.freeze({'b': [1, {'c': 2}], 'a': 0})
  assert value == (('a', 0), ('b', (1, (('c', 2),))))
  assert hash(value)
