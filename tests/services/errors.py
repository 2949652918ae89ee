"""What can go wrong with a test service.

ServiceError
├── MissingProgram
├── StartFailed
└── NotOurs
"""


class ServiceError(Exception):
    """A service that the tests need is not usable; never a reason to skip them."""


class MissingProgram(ServiceError):
    """A program that the tests start is not installed; the message says how to install it."""


class StartFailed(ServiceError):
    """A service ended, or did not answer in time, while it was started; the message ends with its output."""


class NotOurs(ServiceError):
    """The service is somebody else's, or all the run's, so the tests may not stop or administer it."""
