"""FNet's mixer (Lee-Thorp et al. 2022, arXiv 2105.03824, eq. 3).

Re(FFT_seq(FFT_channel(x))), unnormalised, without parameters, mask or dropout.
Padding takes part, so a result belongs to its padded length. The transform runs
in float32 for any input type: entries grow as sqrt(L D) and bfloat16 would lose
the small ones.

As matrices, with C_nk = cos(2 pi n k / N) and S alike: C_L X C_D - S_L X S_D.
Both are symmetric, so the map is its own transpose and the gradient is the same
transform of the cotangent; nothing is kept for the backward pass.
Cost: about 5 L D (log2 L + log2 D) by FFT, 4 L D (L + D) by matrices.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.layers.context import BatchContext
from glue_jax.layers.spec import EncoderConfig

# Up to this length two matrix products beat the FFT on a TPU (the paper,
# section 3.2); everywhere else the FFT is used.
TPU_MATRIX_LENGTH = 4096


def transform(x: jax.Array, implementation: str | None = None) -> jax.Array:
  """Real part of the 2-D discrete Fourier transform.

  Args:
    x: (B, L, D) float32.
    implementation: 'fft', 'dft' (matrix products), or None to choose by
      platform and length.

  Returns:
    (B, L, D) float32.

  Raises:
    ValueError: the implementation is unknown.
  """
  if implementation is None:
    short = x.shape[1] <= TPU_MATRIX_LENGTH
    on_tpu = jax.default_backend() == 'tpu'
    implementation = 'dft' if on_tpu and short else 'fft'
  if implementation not in IMPLEMENTATIONS:
    raise ValueError(
      f'model.options fourier implementation={implementation!r}; expected one '
      f'of {sorted(IMPLEMENTATIONS)}'
    )
  return _transform(implementation, x)


def by_fft(x: jax.Array) -> jax.Array:
  """Transforms half of the spectrum; the other half is its mirror image."""
  width = x.shape[-1]
  half = jnp.fft.rfft2(x).real
  # For a real signal F[-l, -d] is the conjugate of F[l, d].
  mirror = half[..., 1 : (width + 1) // 2]
  mirror = jnp.roll(jnp.flip(mirror, (-2, -1)), 1, axis=-2)
  return jnp.concatenate([half, mirror], axis=-1)


def by_matrices(x: jax.Array) -> jax.Array:
  """Two matrix products a side, in full float32 precision."""

  def product(equation, a, b):
    return jnp.einsum(equation, a, b, precision=jax.lax.Precision.HIGHEST)

  cos_l, sin_l = dft_matrices(x.shape[-2])
  cos_d, sin_d = dft_matrices(x.shape[-1])
  even = product('ml,bld->bmd', cos_l, product('bld,de->ble', x, cos_d))
  odd = product('ml,bld->bmd', sin_l, product('bld,de->ble', x, sin_d))
  return even - odd


def dft_matrices(size: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns cos and sin of 2 pi n k / N: two float32 (N, N)."""
  # n k is reduced modulo N first: large angles lose digits.
  steps = np.outer(np.arange(size), np.arange(size)) % size
  angles = 2 * np.pi * steps / size
  return np.cos(angles).astype('float32'), np.sin(angles).astype('float32')


IMPLEMENTATIONS = {'fft': by_fft, 'dft': by_matrices}


def _run(implementation, x):
  return IMPLEMENTATIONS[implementation](x)


_transform = jax.custom_vjp(_run, nondiff_argnums=(0,))
_transform.defvjp(
  lambda implementation, x: (_transform(implementation, x), None),
  lambda implementation, _, g: (_transform(implementation, g),),
)


class Mixer(nn.Module):
  """Mixes tokens by a Fourier transform.

  Attributes:
    implementation: see `transform`.
  """

  config: EncoderConfig
  implementation: str | None = None

  # Padding is mixed in: one padded length for all batches.
  FIXED_LENGTH = True

  def __call__(
    self, x: jax.Array, context: BatchContext, train: bool
  ) -> jax.Array:
    """Maps (B, L, D) to (B, L, D) float32, without the residual."""
    del context, train  # No mask and no dropout: the paper's mixer is fixed.
    return transform(x.astype(jnp.float32), self.implementation)
