"""`device check`: each part of a box tried in turn, one a file, with a verdict and what to do."""
