"""The maxima of a row's segments, as PoNet pools them.

Imported by `layers/mixers`.
"""
