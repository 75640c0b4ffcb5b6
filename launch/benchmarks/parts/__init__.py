"""What the benchmarks share; no program of its own.

Imported by `launch.benchmarks` alone.
"""
