"""`python -m framelode`: the command line."""

from .adapters.cli.main import main

if __name__ == "__main__":
    main()
