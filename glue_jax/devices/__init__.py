"""Where arrays live: the mesh, sharding rules, several hosts, the CPU.

Knows neither model nor data. Imported by everything above it.
"""
