"""Ideas about language understanding as JAX parts that compose.

`api` is what users call: train, load, predict. The other files here are the
seam: names of leaves, configs, plugs and the records that a run is made of.
Every wing may import `tree` and `config`; what stands above `models` may import
`plugs` and `method` too; nothing imports `api`.
"""
