"""Programs of many runs and one table: `python -m launch.study NAME`.

Imported by name from `launch.study`; the work is in `glue_jax.studies`.
"""
