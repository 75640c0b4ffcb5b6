"""What is measured of a run or a model: densities, norms, memory.

Measures and changes nothing. Imported by `studies` and commands.
"""
