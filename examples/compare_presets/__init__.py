"""The published settings of RPO against the defaults, and pairs against groups of four, on the tiny FLUX."""
