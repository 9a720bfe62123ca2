"""Models on their way out of a run's folder: one file, smaller numbers, and a reader that needs nothing of this."""
