"""What is minimised: tasks, masked words, distillation, density.

A file's `make` returns an `Objective` or wraps a loss. Imported by `methods`,
`training` and what stands above.
"""
