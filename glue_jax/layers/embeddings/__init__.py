"""From token ids to the first hidden states.

`model.embeddings` in a config names a file of this folder. Imported by `layers`
and what stands above.
"""
