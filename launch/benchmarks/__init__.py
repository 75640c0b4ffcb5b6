"""Programs that measure speed and memory: `python -m launch.benchmark NAME`.

PyTorch and other peers are imported here and nowhere else.
"""
