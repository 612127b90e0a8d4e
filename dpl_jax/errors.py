"""The errors that users can cause; each message says what was wrong, where, and what to do."""


class DplError(Exception):
    """Base class of every error that dpl_jax raises on purpose."""


class ConfigError(DplError, ValueError):
    """A setting that cannot work."""


class WeightsError(DplError, ValueError):
    """CLIP weights that are missing, incomplete or of the wrong shape."""


class WeightsNotFoundError(WeightsError, FileNotFoundError):
    """CLIP weights that could not be found, neither in a folder nor on the hub."""


class TextTooLongError(DplError, ValueError):
    """A text with more tokens than the text tower has positions."""


class NumericsError(DplError, ArithmeticError):
    """A loss or parameter that is not finite."""


class RunFolderError(DplError, ValueError):
    """A run folder that cannot be used: in use, not writable, or started with another config."""


class CheckpointError(DplError, ValueError):
    """A checkpoint that could not be saved, is damaged, or does not fit the run."""
