"""Configs of many runs that are read as one: benchmarks, and the matrix.

They import other configs; nothing in glue_jax imports them.
"""
