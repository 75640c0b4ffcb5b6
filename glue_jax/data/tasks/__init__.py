"""The records of tasks: columns, labels, splits and metric of each.

`task.py` is the record, `by_name.py` finds one. Imported by `data` and by
everything above it that must know what a column means.
"""
