"""The box as a whole: the supervisor, what it finds on the box, what it says of itself, and what is wrong."""
