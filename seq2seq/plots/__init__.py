"""Drawings of runs by Matplotlib: curves, attention, scores by length, vectors of sentences; a file each."""
