"""Experiments: one file each, with a `get_config` that a command calls.

`quickstart.py`, `glue.py` and `own_task.py` are the way in; `finetune` and
`pretrain` hold one file a method. Nothing in glue_jax imports them.
"""
