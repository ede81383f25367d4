"""Numbers about models and what they remember: pure functions of arrays."""
