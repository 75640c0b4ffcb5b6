"""BitFit. Ben Zaken et al. 2021, arXiv 2106.10199.

Every bias of the model learns, those of LayerNorms and of the pooler too, and
the head; nothing is added.
"""

from glue_jax.method import Context, Method, train_only


def make(ctx: Context) -> Method:
  """Returns the method.

  Args:
    ctx: see `Context`.
  """
  del ctx
  return Method('bitfit', labels=train_only('.*/bias', 'head/.*'))
