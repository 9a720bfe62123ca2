"""Models: the contract, and an encoder or a decoder a file."""
