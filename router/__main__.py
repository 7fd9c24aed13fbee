"""`python -m router` is the `embedway` command."""

from router.cli import main

if __name__ == "__main__":
    main()
