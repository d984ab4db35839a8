"""Files that a verb leaves in its folder and others look for there, by name. No torch here."""

CODES = "codes.safetensors"  # of `stylegraft translate`: what the photos were inverted to
