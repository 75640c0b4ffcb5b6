"""What the probes share; no program of its own.

Imported by `launch.probes` alone.
"""
