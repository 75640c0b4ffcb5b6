"""The terms of relative position in DeBERTa's disentangled attention.

Imported by `layers/mixers/disentangled`.
"""
