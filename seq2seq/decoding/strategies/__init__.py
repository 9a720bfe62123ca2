"""The strategies that come along, a file each."""
