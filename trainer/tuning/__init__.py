"""Settings searched by what is heard, within what a box can compute."""
