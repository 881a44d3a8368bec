"""Trained weights become TFLite files in a bundle."""
