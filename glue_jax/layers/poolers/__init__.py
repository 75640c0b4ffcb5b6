"""From the tokens' vectors to one of the row, which sentence heads read.

`model.pooler` in a config names a file of this folder. Imported by `models`.
"""
