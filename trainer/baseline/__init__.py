"""The original's way (von Arnim, 2022), trained on the same takes to be set beside ours."""
