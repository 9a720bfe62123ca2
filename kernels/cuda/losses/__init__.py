"""Cross-entropy, alone and with the output layer."""
