"""What a material is, and the ion-transport physics that follows from it."""

import os

os.environ.setdefault("SPGLIB_WARNING", "OFF")  # its C code writes to stderr; failures are None
