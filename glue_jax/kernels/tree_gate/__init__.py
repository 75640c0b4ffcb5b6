"""The sparse tree of smooth steps that is COMET's gate.

Imported by `layers/gates`.
"""
