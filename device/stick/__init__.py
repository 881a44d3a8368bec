"""A USB stick: takes are copied to it, a signed bundle is taken from it, and it may be pulled at any time."""
