"""Small experiments that show a claim: `python -m launch.miniature NAME`.

One file a system; it exits 1 if its figure is missed.
"""
