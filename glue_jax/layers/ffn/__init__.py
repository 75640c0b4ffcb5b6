"""What can stand in a block's feed-forward slot: dense, or experts.

`model.ffn` in a config names a file of this folder. Imported by `layers` and
what stands above.
"""
