"""Linear layers and tables by our names and by those of the library."""

from collections.abc import Iterable
from typing import Any

from glue_jax.models import model as models
from glue_jax.models import names


def sites(module: Any) -> dict[str, str]:
  """Returns {our linear layer or table: its name in the library}."""
  theirs = {}
  for name, target in names.targets(module, models.shapes(module)).items():
    site, _, leaf = name.rpartition('/')
    if leaf in ('kernel', 'embedding'):
      theirs[site] = target.name.removesuffix('.weight')
  return theirs


def in_every(adapted: Iterable[str], module: Any, what: str) -> set[str]:
  """Returns the names inside a layer of sites that all layers must have.

  Args:
    adapted: our paths of linear layers.
    module: the `Model`.
    what: sits there, for messages.

  Raises:
    ValueError: some layers lack a site.
  """
  inside = {site.rpartition('/')[2] for site in adapted}
  wanted = {
    site
    for site in sites(module)
    if 'layer_' in site and site.rpartition('/')[2] in inside
  }
  if set(adapted) != wanted:
    lacking = sorted(wanted - set(adapted))
    raise ValueError(f'{what} sits on some layers only; without {lacking}')
  return inside
