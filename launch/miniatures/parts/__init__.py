"""What the miniatures share; no program of its own.

Imported by `launch.miniatures` alone.
"""
