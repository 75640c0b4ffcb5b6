"""Model soups: averages of checkpoints.

Wortsman et al. 2022, arXiv 2203.05482.
The uniform soup is `average.average`; the greedy one (their recipe 1) takes a
checkpoint in only if the average gets no worse for it.
"""

from collections.abc import Callable, Sequence


def greedy(
  scores: Sequence[float], evaluate: Callable[[tuple[int, ...]], float]
) -> tuple[tuple[int, ...], float, list[dict]]:
  """Chooses what goes into the soup.

  Args:
    scores: of each checkpoint on held-out data, larger is better.
    evaluate: checkpoints (their numbers) -> score of their average.

  Returns:
    the chosen numbers in the order of their scores; the soup's score; a row
    for each trial: its members, score, and whether it was taken.

  Raises:
    ValueError: there is nothing to choose from.
  """
  if not scores:
    raise ValueError('a soup needs at least one checkpoint')
  # Of equal scores the later checkpoint, which was trained for longer.
  order = sorted(range(len(scores)), key=lambda i: (-scores[i], -i))
  chosen, best = (order[0],), scores[order[0]]
  rows = [{'members': chosen, 'score': best, 'taken': True}]
  for i in order[1:]:
    trial = (*chosen, i)
    score = evaluate(trial)
    rows.append({'members': trial, 'score': score, 'taken': score >= best})
    if score >= best:
      chosen, best = trial, score
  return chosen, best, rows
