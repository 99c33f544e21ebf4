"""What ends a training that could not be foreseen."""


class TrainingError(RuntimeError):
    """A training cannot go on, through no fault of the program; the message is the whole story."""
