"""Make trained models forget chosen people's data, and prove it to strangers."""
