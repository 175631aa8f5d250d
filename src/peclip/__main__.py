"""`python -m peclip` is the command `peclip`."""

import os

try:
    from peclip.cli import main
except KeyboardInterrupt:  # before main has installed its handler
    os._exit(130)

if __name__ == "__main__":
    main()
