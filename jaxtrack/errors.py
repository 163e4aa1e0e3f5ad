"""The one exception that is a message for the user."""


class UserError(Exception):
    """A user's mistake, as one clear sentence: what was wrong, where, what was expected, what to do.

    The scripts print the sentence alone, without a traceback, and exit with code 2.
    """
