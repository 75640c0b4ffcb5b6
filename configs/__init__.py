"""Experiments: one file each, with a `get_config` that a command calls.

`quickstart.py`, `glue.py` and `own_task.py` are the way in; `finetune`,
`pretrain` and `distill` hold one file a method, `suites` what is many runs;
`argument.py` reads what stands after a file's name. Nothing in glue_jax imports
them.
"""
