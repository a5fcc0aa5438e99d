"""The command `dpcenet`. What a person can mend ends in one line and exit code 2."""

from __future__ import annotations

from dpcenet.system.program_end import end_after


def main() -> None:
    """Run the command line."""
    end_after(_command)


def _command() -> None:
    from dpcenet.cli import app

    app()


if __name__ == "__main__":
    main()
