"""What a person sees of a run: records, curves, tables, plots, whole files.

Knows no model. Imported by everything that stands above it.
"""
