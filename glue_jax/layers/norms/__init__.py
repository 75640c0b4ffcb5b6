"""How hidden states are normalised: LayerNorm, without its bias, RMSNorm.

`model.norm` in a config names a file of this folder. Imported by `layers` and
what stands above.
"""
