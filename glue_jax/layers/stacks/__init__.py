"""How blocks follow one another: plain, reversible, first token only.

`model.stack` in a config names a file of this folder. Imported by `layers` and
what stands above.
"""
