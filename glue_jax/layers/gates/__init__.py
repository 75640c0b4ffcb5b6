"""How experts are chosen for a token: one file a gate.

`gate` among the options of the experts names a file of this folder. Imported by
`layers/ffn` and what stands above.
"""
