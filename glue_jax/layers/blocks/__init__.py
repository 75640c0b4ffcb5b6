"""How sublayers make a block: norm after the residual sum, or before.

`model.block` in a config names a file of this folder. Imported by `models`.
"""
