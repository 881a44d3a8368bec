"""Recording: an input's sound and the camera's frames become takes, while the engine plays on or without it."""
