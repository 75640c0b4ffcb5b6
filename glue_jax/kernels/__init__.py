"""Single operations with a reference, a TPU, a GPU and an XLA form.

A folder for each kernel, which holds the choice between its forms too. The
lowest wing: imported by `layers`.
"""
