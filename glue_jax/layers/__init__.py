"""What happens inside a block of the encoder.

A slot is a folder (`mixers`, `ffn`, `stacks`, `gates`): a config value names a
file in it. Imported by `models`, by the maths of methods and above.
"""
