"""What a number means: classification, regression, sequence, SQuAD scores.

Plain functions of predictions and gold. Imports nothing of the project, and
everything may import it.
"""
