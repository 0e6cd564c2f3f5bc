"""A weighted rubric set is learned from labelled pairs, and a tiny Stable Diffusion 3 from its scores."""
