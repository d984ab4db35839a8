"""Inversion: the code of a source whose image is a given picture. One-shot methods begin there; `applications` keeps
the codes of photos.
"""
