"""Every system that tunes a model, one file each: the index of them all.

A file takes parts of the maths below and returns a `Method`; a config names it.
Imported by name from `training`; no method imports the loop.

.. include:: README.md
"""
