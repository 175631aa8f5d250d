"""`python -m peclip` is the command `peclip`."""

from peclip.cli import main

if __name__ == "__main__":
    main()
