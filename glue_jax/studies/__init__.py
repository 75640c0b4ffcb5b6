"""Many runs and one table: sweeps, retrainings, transfer, the matrix.

Runs configs and never looks inside a step. Imported by commands.
"""
