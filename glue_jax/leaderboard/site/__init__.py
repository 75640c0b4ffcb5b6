"""The board as a static site: pages, tables, figures.

Imported by commands alone.
"""
