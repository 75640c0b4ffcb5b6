"""One file a format: TSV, CSV, JSON, Arrow, SQuAD, CoNLL, SuperGLUE, TFDS.

`formats.py` says which reader reads a file, `values.py` what is no text. A
reader turns a file into rows and names file and line in its errors. Imported by
`data` alone and by commands that check files.
"""
