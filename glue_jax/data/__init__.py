"""From files to batches: reading, tokenizing, caching, shuffling, batching.

Knows no model, and no model knows it. Imported by `evaluation`, `training` and
what stands above them.
"""
