"""Methods whose result is, byte for byte, a model that never saw the samples."""
