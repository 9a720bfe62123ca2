"""The decoders that come along, a file each."""
