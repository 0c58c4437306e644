"""`python -m sessionstore` is the console script."""

from sessionstore.cli.main import main

if __name__ == "__main__":
    main(prog_name="sessionstore")
