"""How parameters move: optax transforms, schedules, what a config builds.

Imported by `methods`, `training` and what stands above.
"""
