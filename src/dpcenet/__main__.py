"""The command `dpcenet`. What a person can mend ends in one line and exit code 2."""

from __future__ import annotations

import sys

from dpcenet.system.program_end import end_after


def main() -> None:
    """Run the command line."""
    end_after(_command)


def _command() -> None:
    from dpcenet.cli import app
    from dpcenet.cli.checks import check_words

    check_words(sys.argv[1:])
    app()


if __name__ == "__main__":
    main()
