"""Takes that nothing good can be learned from are found before training."""
