"""What runs on the workstation to reach boxes: bundles go there, takes come back, over the user's own SSH."""
