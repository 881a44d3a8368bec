"""Bundles: read with limits, checked, signed, tried in a process of their own, and kept as installed models."""
