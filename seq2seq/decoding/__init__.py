"""Search over what a model thinks likely, and the translator that is built on it."""
