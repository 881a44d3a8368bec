"""The model, its loss, and the steps that move its weights: alone, or with other workers."""
