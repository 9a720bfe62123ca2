"""What only a device can answer, and the run of all that a GPU is asked: `run.sh`; README.md explains its parts."""
