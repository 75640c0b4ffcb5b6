"""One file a format: TSV, CSV, JSONL, CoNLL, SuperGLUE, tensorflow-datasets.

A reader turns a file into rows and names file and line in its errors. Imported
by `data` alone and by commands that check files.
"""
