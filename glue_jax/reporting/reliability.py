"""Reliability diagrams: how often predictions of a confidence are right."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from glue_jax.reporting import plots


def plot(
  found: Mapping[str, Any],
  png: str | os.PathLike,
  title: str,
  what: str = 'predictions that are right',
) -> None:
  """Draws a panel for each set of bins: bars on the diagonal are calibrated.

  Args:
    found: {name: `metrics.calibration.Bins`}; the name, with the ECE, is the
      panel's title.
    png: file to write.
    title: of the figure.
    what: the share that the bars show.
  """
  figure, axes = plots.new_figure(len(found), 1, (4.2 * len(found), 4.0))
  most = max(bins.count.max() for bins in found.values())
  for axis, (name, bins) in zip(axes, found.items()):
    number = len(bins.count)
    centres = (np.arange(number) + 0.5) / number
    there = bins.count > 0
    axis.bar(
      centres[there],
      bins.accuracy[there],
      width=1 / number,
      color='#1f6fb4',
      alpha=0.8,
      edgecolor='white',
      label=f'share of {what}',
    )
    axis.plot(
      bins.confidence[there],
      bins.accuracy[there],
      'o',
      color='#d9662c',
      markersize=4,
      label='at their mean probability',
    )
    axis.plot([0, 1], [0, 1], '--', color='#333333', lw=1, label='calibrated')
    # How many there are, along the bottom.
    axis.bar(
      centres[there],
      0.1 * bins.count[there] / most,
      width=0.5 / number,
      color='#333333',
      label=f'count (highest: {most})',
    )
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_title(f'{name}: ECE {bins.error:.4f}', fontsize=10)
    axis.set_xlabel('probability')
  axes[0].set_ylabel(what)
  axes[0].legend(frameon=False, fontsize=8, loc='upper left')
  plots.save_figure(figure, png, title)
