"""What a model gets wrong: sentence by sentence, by length, by how rare words are; and how a translation came about."""
