"""A file becomes a tree of parameters, and back.

Our own format and Hugging Face's. Imported by `training` and what stands
above.
"""
