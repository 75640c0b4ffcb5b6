"""How ggml stores numbers: each type's blocks, and what they stand for.

A block is a few bytes for 1, 32 or 256 values that follow each other: scales d
(and offsets m) in float16 and small integers q, for the values d q or d q + m;
the K types have scales of scales. Source: the functions dequantize_row_* of
ggml-quants.c in ggml-org/ggml.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Block(NamedTuple):
  """A way of storing.

  Attributes:
    values: numbers in a block.
    nbytes: bytes of a block.
    values_of: (blocks, nbytes) uint8 -> (blocks, values).
  """

  values: int
  nbytes: int
  values_of: Callable[[np.ndarray], np.ndarray]


def _half(part: np.ndarray) -> np.ndarray:
  """Float16 in two bytes, as float32."""
  return np.ascontiguousarray(part).view('<f2').astype(np.float32)


def _nibbles(part: np.ndarray, group: int) -> np.ndarray:
  """4-bit integers: of each `group` bytes the low halves, then the high."""
  part = part.reshape(len(part), -1, 1, group)
  shifts = np.array([0, 4], np.uint8)[:, None]
  return (part >> shifts & 15).reshape(len(part), -1)


def _fifth_bits(part: np.ndarray) -> np.ndarray:
  """The bits of 32 values, lowest first."""
  return np.unpackbits(part, axis=1, bitorder='little')


def _plain(dtype: str) -> Callable[[np.ndarray], np.ndarray]:
  return lambda x: x.view(dtype)


def _bf16(x: np.ndarray) -> np.ndarray:
  return (x.view('<u2').astype(np.uint32) << 16).view(np.float32)


def _q4_0(x: np.ndarray) -> np.ndarray:
  q = _nibbles(x[:, 2:], 16).astype(np.float32) - 8
  return _half(x[:, :2]) * q


def _q4_1(x: np.ndarray) -> np.ndarray:
  return _half(x[:, :2]) * _nibbles(x[:, 4:], 16) + _half(x[:, 2:4])


def _q5_0(x: np.ndarray) -> np.ndarray:
  q = _nibbles(x[:, 6:], 16) | _fifth_bits(x[:, 2:6]) << 4
  return _half(x[:, :2]) * (q.astype(np.float32) - 16)


def _q5_1(x: np.ndarray) -> np.ndarray:
  q = _nibbles(x[:, 8:], 16) | _fifth_bits(x[:, 4:8]) << 4
  return _half(x[:, :2]) * q + _half(x[:, 2:4])


def _q8_0(x: np.ndarray) -> np.ndarray:
  return _half(x[:, :2]) * x[:, 2:].view(np.int8)


def _scales(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """(scales, offsets), (blocks, 8, 1) each, of a K block's first 16 bytes."""
  low, high, last = x[:, 4:8], x[:, 8:12], x[:, 12:16]
  d = np.concatenate([low & 63, last & 15 | low >> 6 << 4], 1)
  m = np.concatenate([high & 63, last >> 4 | high >> 6 << 4], 1)
  d, m = _half(x[:, :2]) * d, _half(x[:, 2:4]) * m
  return d[..., None], m[..., None]


def _q4_k(x: np.ndarray) -> np.ndarray:
  d, m = _scales(x)
  q = _nibbles(x[:, 16:], 32).reshape(-1, 8, 32)
  return (d * q - m).reshape(len(x), -1)


def _q5_k(x: np.ndarray) -> np.ndarray:
  d, m = _scales(x)
  q = _nibbles(x[:, 48:], 32).reshape(-1, 8, 32)
  shifts = np.arange(8, dtype=np.uint8)[:, None]
  q = q | (x[:, None, 16:48] >> shifts & 1) << 4
  return (d * q - m).reshape(len(x), -1)


def _q6_k(x: np.ndarray) -> np.ndarray:
  q = _nibbles(x[:, :128], 64).reshape(-1, 2, 4, 32)
  shifts = np.array([0, 2, 4, 6], np.uint8)[:, None]
  q = q | (x[:, 128:192].reshape(-1, 2, 1, 32) >> shifts & 3) << 4
  d = _half(x[:, 208:]) * x[:, 192:208].view(np.int8)
  q = q.reshape(-1, 16, 16).astype(np.float32) - 32
  return (d[..., None] * q).reshape(len(x), -1)


BLOCKS = {
  'F32': Block(1, 4, _plain('<f4')),
  'F16': Block(1, 2, _plain('<f2')),
  'BF16': Block(1, 2, _bf16),
  'Q4_0': Block(32, 18, _q4_0),
  'Q4_1': Block(32, 20, _q4_1),
  'Q5_0': Block(32, 22, _q5_0),
  'Q5_1': Block(32, 24, _q5_1),
  'Q8_0': Block(32, 34, _q8_0),
  'Q4_K': Block(256, 144, _q4_k),
  'Q5_K': Block(256, 176, _q5_k),
  'Q6_K': Block(256, 210, _q6_k),
}
# Numbers of types; those without a block are named where they are refused.
NAMES = {
  0: 'F32', 1: 'F16', 2: 'Q4_0', 3: 'Q4_1', 6: 'Q5_0', 7: 'Q5_1', 8: 'Q8_0',
  9: 'Q8_1', 10: 'Q2_K', 11: 'Q3_K', 12: 'Q4_K', 13: 'Q5_K', 14: 'Q6_K',
  15: 'Q8_K', 16: 'IQ2_XXS', 17: 'IQ2_XS', 18: 'IQ3_XXS', 19: 'IQ1_S',
  20: 'IQ4_NL', 21: 'IQ3_S', 22: 'IQ2_S', 23: 'IQ4_XS', 24: 'I8', 25: 'I16',
  26: 'I32', 27: 'I64', 28: 'F64', 29: 'IQ1_M', 30: 'BF16', 34: 'TQ1_0',
  35: 'TQ2_0', 39: 'MXFP4', 40: 'NVFP4', 41: 'Q1_0',
}  # fmt: skip
