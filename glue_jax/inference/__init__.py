"""How a finished run is used: opened, asked for labels, made a submission.

`open_run.py` is the one answer to which folder is the run. Imported by `export`
and everything above it.
"""
