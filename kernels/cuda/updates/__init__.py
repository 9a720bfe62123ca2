"""Optimisers and gradient clipping."""
