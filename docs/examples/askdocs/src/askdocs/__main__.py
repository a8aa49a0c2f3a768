"""`python -m askdocs`."""

import sys

from askdocs.main import main

if __name__ == "__main__":
    sys.exit(main())
