"""What can go wrong, sorted by who can mend it.

A message says where, what was found, what was expected and what to do, in one line.
"""


class InspectionError(Exception):
    """Base of all errors a user meets; the command line prints it as one line and returns 2."""


class ConfigError(InspectionError):
    """A file or an argument does not say what it must; the operator can mend it."""


class BundleError(InspectionError):
    """A bundle is missing, damaged, or its hash does not fit."""


class EngineError(InspectionError):
    """A backend or engine cannot be built or loaded on this machine; says what is missing."""


class BusError(InspectionError):
    """A socket cannot be bound or reached."""


class SourceError(InspectionError):
    """A camera or file gives no frames."""


class SourceTimeout(SourceError):
    """No frame within the time asked for; the source may deliver the next one."""


class SourceStale(SourceError):
    """The device gave a frame again that it had given before; the next one may be new."""


class SourceLost(SourceError):
    """The device or file is gone; it must be opened again."""


class SourceIncomplete(SourceError):
    """A frame arrived with parts missing; the next one may be whole."""


class SourceFormat(SourceError):
    """A frame has another size, depth or channel count than the station was opened with."""


class SourceDecode(SourceError):
    """A file or packet cannot be decoded; the next one may be."""


class SourceEnd(SourceError):
    """A finite source (folder, file) has no more frames: not a fault."""


class DetectorError(InspectionError):
    """This frame could not be judged: an INVALID verdict; the run goes on."""


class PipelineError(InspectionError):
    """A thread of the pipeline did not end in time; every ticket was answered all the same."""


class PlcError(InspectionError):
    """The demo's virtual PLC gave up, or its process is gone."""
