"""Training, from files to what is served.

Modules here are commands, `python -m training.NAME`.
What they share lives in rooms, none of which imports a command; from the ground up: data; augmentation, evaluation;
loop, exporting; tasks; run. `compress` and `reporting` hold commands and what those alone need.
"""
