"""Writing texts: greedy, by sampling, by beam search, from a decoder's cache.

`generate.py` is the entry. Imported by `objectives` and what stands above.
"""
