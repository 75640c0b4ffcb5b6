"""What a contribution is: written from runs, unpacked, checked, reproduced.

Imported by the rest of `leaderboard` and by commands.
"""
