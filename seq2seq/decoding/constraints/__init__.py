"""The constraints that come along, a file each."""
