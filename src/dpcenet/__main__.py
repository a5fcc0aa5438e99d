"""The command `dpcenet`. What a person can mend ends in one line and exit code 2."""

from __future__ import annotations

import sys

from dpcenet.errors import DpcenetError


def main() -> None:
    """Run the command line."""
    from dpcenet.cli import app

    try:
        app()
    except DpcenetError as error:
        sys.stderr.write(f"dpcenet: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
