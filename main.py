"""Trains, evaluates or checks a run: flags only, one call."""

import os
import signal
import sys

from bigjax.modes.command import main

if __name__ == "__main__":
    # While modules are imported there is nothing to save: the same code as when there is.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(75))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # quiet, where TensorFlow is installed
    sys.exit(main(sys.argv[1:]))
