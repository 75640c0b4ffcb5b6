"""Tuning a model on a task: one file a method.

Its header names the paper, the command and what is expected.
"""
