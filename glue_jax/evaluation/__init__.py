"""From a model's outputs to a split's scores: predicting, spans, answers.

The formulas of the scores are in `metrics`. Imported by `training`, `inference`
and what stands above.
"""
