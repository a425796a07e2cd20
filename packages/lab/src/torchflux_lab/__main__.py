"""`python -m torchflux_lab`: the same as the command `torchflux`."""

from ._cli import main

if __name__ == "__main__":
    main()
