"""What runs on the box: a camera sees the body, a small network plays."""

__version__ = "0.1.0"
