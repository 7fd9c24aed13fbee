"""The one error of the export and the engine build: a sentence for the operator."""


class ExportError(Exception):
    """The model cannot be exported or built; the message says why, and names the file."""
