"""Dances that were recorded as joint positions, before a simulated camera; the factory's bundle is made of them."""
