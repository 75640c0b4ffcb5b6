"""Choosing training text that is like a target (DSIR), on one machine or Beam.

Imported by commands; nothing in a training run reads it.
"""
