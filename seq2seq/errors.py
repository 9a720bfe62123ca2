"""The errors' name in version 0.1; they stand in ``seq2seq.run.errors``."""

from seq2seq.run.errors import UserError as UserError
from seq2seq.run.errors import UserTypeError as UserTypeError
