"""How a model leaves: Hugging Face and peft folders, StableHLO, bundles.

Reads finished runs and writes folders. Imported by `studies` and commands.
"""
