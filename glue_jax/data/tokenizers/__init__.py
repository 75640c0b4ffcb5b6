"""Tokenizers of published folders: files and settings become a backend."""
