"""Samples: the ring, segments, schema, ingest, erasure."""
