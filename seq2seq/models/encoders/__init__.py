"""The encoders that come along, a file each."""
