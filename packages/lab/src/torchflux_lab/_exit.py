"""How the command ends."""

MISUSE, FAILURE, INTERRUPTED = 2, 1, 130  # exit codes; 130 is the shells' own for Ctrl-C
