"""Side-by-side measurements: each is a command of its own, prints tables and writes JSON. Run from a checkout."""
