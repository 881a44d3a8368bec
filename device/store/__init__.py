"""What is kept: all that is written to stay, in an order that survives a pulled plug, and how takes are read again."""
