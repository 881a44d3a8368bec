"""What a new box is set up with: its sound cards, a tone, a picture, and the keys of its configuration."""
