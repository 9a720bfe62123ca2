"""What to ask a machine with a GPU, and how its answers are kept: `run.sh` runs every part, README.md explains them.

Each part is a module with a process, a time budget and a JSON file of its own, written anew after every row, so that a
part that fails, hangs or is ended loses nothing of what it has found, nor anything of the others. Both libraries of a
race are in one process here: they share the device's context, take turns, and are timed by events on the device.
"""
