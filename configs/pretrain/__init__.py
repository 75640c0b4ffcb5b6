"""Pre-training an encoder on text: one file a method.

Its header names the paper, the command and what is expected.
"""
