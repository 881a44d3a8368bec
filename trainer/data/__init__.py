"""From takes to batches: segments, spectra that are computed once, augmentation."""
