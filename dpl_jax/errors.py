"""The errors that users can cause; each message says what was wrong, where, and what to do."""

from __future__ import annotations

from pathlib import Path


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


class DataError(DplError, ValueError):
    """A dataset, split or image list that cannot be used as it is."""


class DataNotFoundError(DataError, FileNotFoundError):
    """A dataset, split file or image that is not where it was looked for."""


class UnreadableImageError(DataError):
    """An image that is damaged, too large, not an image, or not permitted to be read."""


class NumericsError(DplError, ArithmeticError):
    """A loss or parameter that is not finite."""


class RunFolderError(DplError, ValueError):
    """A run folder that cannot be used: in use, not writable, or started with another config."""


class WriteError(DplError, OSError):
    """A file that could not be written: a full disk, or a folder that has turned read-only."""

    def __init__(self, message: str, reason: str) -> None:
        """The message names the file; ``reason`` is the system's word for what was wrong."""
        super().__init__(message)
        self.strerror = reason


class DamagedFileError(DplError, ValueError):
    """A file that does not hold what its name says."""


class CheckpointError(DplError, ValueError):
    """A checkpoint that could not be saved, is damaged, or does not fit the run."""


class Interrupted(DplError):  # noqa: N818
    """A run that a signal has ended after a checkpoint, from which it can go on.

    Attributes:
      workdir: the folder that the run goes on in.
      exit_code: what the process should end with.
    """

    def __init__(self, message: str, *, workdir: Path, exit_code: int) -> None:
        """The message says where the run stopped."""
        super().__init__(message)
        self.workdir, self.exit_code = workdir, exit_code
