"""Programs that measure a run or a config: `python -m launch.probe NAME`.

Imported by name from `launch.probe`; the measuring is in `glue_jax.probes`.
"""
