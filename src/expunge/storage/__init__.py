"""Where bytes and rows rest: database, facts, packs, and the few ways to touch a disk."""
