"""Whole tasks, a module each: ``python -m seq2seq.examples.NAME FOLDER`` makes data, trains on them, and scores."""
