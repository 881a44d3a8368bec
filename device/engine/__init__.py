"""The engine: frames in, sound out, each part in a process of its own, in real time or by a virtual clock."""
