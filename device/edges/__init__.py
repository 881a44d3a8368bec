"""One driver a file, each behind one narrow interface: `camera`, `audio`, `model`."""
