"""The command `dpcenet`. What a person can mend ends in one line and exit code 2."""

from __future__ import annotations

import errno
import sys

from dpcenet.errors import DpcenetError
from dpcenet.system.files import NO_SPACE

_MENDABLE = (errno.EACCES, errno.EPERM, errno.EROFS, *NO_SPACE)


def main() -> None:
    """Run the command line."""
    from dpcenet.cli import app

    try:
        app()
    except DpcenetError as error:
        sys.stderr.write(f"dpcenet: {error}\n")
        sys.exit(2)
    except OSError as error:
        if error.errno not in _MENDABLE or error.filename is None:
            raise
        sys.stderr.write(f"dpcenet: {error.filename}: {error.strerror}; choose another folder\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
