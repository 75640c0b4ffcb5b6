"""Configs, and what may stand in them.

Needs nothing of the package; every wing may import it.
"""
