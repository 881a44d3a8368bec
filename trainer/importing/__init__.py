"""Videos with sound become takes."""
