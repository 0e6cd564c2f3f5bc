"""Examples that run: each folder has a README with the commands."""
