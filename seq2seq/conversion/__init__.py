"""Weights from elsewhere: files of other frameworks, read without them, and what the layouts in them mean."""
