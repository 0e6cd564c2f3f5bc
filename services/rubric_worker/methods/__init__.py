"""Methods that learn rubric sets from labelled pairs: a package each, which knows criteria, and publishes nothing."""
