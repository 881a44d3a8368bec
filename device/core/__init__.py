"""Pure signal code and formats: numpy and the standard library, no clock, threads, files or unseeded randomness."""
