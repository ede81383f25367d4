"""One adapter per framework, each a canonical function of its ordered samples."""
