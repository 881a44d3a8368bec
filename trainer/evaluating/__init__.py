"""Held-out dances are played, and how well the sound follows them is measured."""
