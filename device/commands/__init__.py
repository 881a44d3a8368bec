"""The commands, one a file: what they are asked for, done by the rest, and said."""
