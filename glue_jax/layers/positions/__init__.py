"""Where a token stands, told to attention rather than added to embeddings.

`model.positions` in a config names a file of this folder. Imported by `layers`
and what stands above.
"""
