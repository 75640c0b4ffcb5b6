"""Several finished models made into one: the maths, and what runs it.

Reads one tensor at a time. Imported by commands.
"""
