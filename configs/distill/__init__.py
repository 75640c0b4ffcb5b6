"""Configs of students that learn from a teacher's outputs, one file a method.

They import the configs they start from; nothing in glue_jax imports them.
"""
