"""Places that a run's metrics go to beside `metrics.jsonl`, a file each.

A file's name is that of the logger in a config; it defines `make(**kwargs)`,
which returns a `logger.Logger`. Imported by name; imports glue_jax/reporting
and what is below it.
"""
