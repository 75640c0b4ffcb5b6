"""The maths of fewer bits and fewer weights: NF4, int8, pruning, experts.

Plain functions and plugs on arrays. Imported by `methods` and what stands
above them; the other kinds of maths don't import it.
"""
