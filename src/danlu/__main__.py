"""`python -m danlu`: the command line, where the script `danlu` is not on the path."""

from danlu.cli.main import main

if __name__ == "__main__":
    main()
