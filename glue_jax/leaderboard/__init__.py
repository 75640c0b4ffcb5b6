"""A board of systems: contributions checked, scored from gold, shown, ranked.

The highest wing: only commands import it. Nothing that a contribution holds is
ever run here.
"""
