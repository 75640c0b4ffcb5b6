"""The product with a quasiseparable matrix, as Hydra mixes its tokens.

Imported by `layers/mixers`.
"""
