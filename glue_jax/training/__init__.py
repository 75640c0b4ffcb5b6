"""How a run is made: what a config builds, the state, the step, the loop.

`runs.py` is the way in, `train.py` the loop. Knows no method, model or task by
name. Imported by `inference` and everything above it.
"""
