"""What the commands share: flags, the line of an error, lists of programs.

Imported by `launch` alone.
"""
