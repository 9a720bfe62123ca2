"""What a run is made of: settings, files, checkpoints, devices, and what its commands share."""
