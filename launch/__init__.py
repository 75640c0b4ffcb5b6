"""The commands that a person types: `python -m launch.NAME --help`.

A file reads flags, calls glue_jax and prints. Nothing in glue_jax imports them.
"""
