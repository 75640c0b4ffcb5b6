"""Configs that name many runs: a benchmark's tasks, combinations of parts.

Each takes the run's name as its argument. Nothing imports them but
`launch.studies` and tests.
"""
