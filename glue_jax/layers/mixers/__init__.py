"""What can mix the tokens of a row: attention, Fourier, PoNet, matrices.

`model.mixer` in a config names a file of this folder. Imported by `layers` and
what stands above.
"""
