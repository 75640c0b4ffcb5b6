"""Ranking by consensus: Borda, Kemeny, agreement, robustness, bootstrap.

Works on tables of scores alone. Imported by the rest of `leaderboard` and by
commands.
"""
