"""Text on both sides of a model: tokenizers, vocabularies, and the codec that a run keeps."""
