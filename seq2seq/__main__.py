"""``python -m seq2seq COMMAND``, which is the console script ``seq2seq``."""

import sys

from seq2seq.run.entry import main

sys.exit(main())
