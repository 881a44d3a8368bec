"""The round trip: takes come home, a model learns from them, and goes back if it is no worse."""
