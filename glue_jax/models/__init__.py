"""Published architectures: sizes, presets, names of their leaves on the hub.

One encoder whose slots `layers` fills; a family's file says with what. Knows no
task and no data. Imported by what stands above.
"""
